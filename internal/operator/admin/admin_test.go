package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// keys is an operator who can only rotate the key.
type keys struct {
	admin.Operator
	rotate func(context.Context) (admin.Rotation, error)
}

func (k keys) RotateKey(ctx context.Context) (admin.Rotation, error) { return k.rotate(ctx) }

// serve serves o on a socket of its own and returns a caller of it.
func serve(t *testing.T, o admin.Operator) *admin.Caller {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: admin.Handler(o, slog.New(slog.DiscardHandler))}
	go func() { _ = s.Serve(admin.Peers(l)) }()
	t.Cleanup(func() { s.Close() })
	return admin.NewCaller(path)
}

// What a request causes names who sent it, as the kernel knows.
func TestRequestsAreTheirSenders(t *testing.T) {
	var out bytes.Buffer
	events := audit.New(&out)
	c := serve(t, keys{rotate: func(ctx context.Context) (admin.Rotation, error) {
		events.Event(ctx, audit.Event{Kind: audit.KeyRotated})
		return admin.Rotation{Values: 3}, nil
	}})
	if r, err := c.RotateKey(t.Context()); err != nil || r.Values != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`FJMCP_OPERATOR="%s (uid %s)"`, me.Username, me.Uid); !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in %s", want, out.String())
	}
}

// What the operator can mend is told as it is; the rest is in the journal.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&admin.Error{Text: "mend <this>"}, "mend <this>"},
		{&admin.Error{Text: "not there", NotFound: true}, "not there"},
		{errors.New("sqlite: secret"), "cannot rotate the key; see the journal of fjmcp-broker"},
	} {
		c := serve(t, keys{rotate: func(context.Context) (admin.Rotation, error) { return admin.Rotation{}, tt.err }})
		if _, err := c.RotateKey(t.Context()); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestNoBroker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	if _, err := admin.NewCaller(path).Status(t.Context()); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("without a socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := admin.NewCaller(path).Status(t.Context()); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("with a socket that nobody listens at: %v", err)
	}
}

// One that is there, and gone before it answers.
func TestBrokerThatEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if _, err := admin.NewCaller(path).Status(t.Context()); !errors.Is(err, admin.ErrNotRunning) || !strings.Contains(err.Error(), "before it answered") {
		t.Errorf("got %v", err)
	}
}

func TestAssess(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*admin.Status)
		want   string
	}{
		{"all well", func(*admin.Status) {}, admin.Healthy},
		{"values to move to the new key", func(s *admin.Status) { s.Store.OlderKey = 1 }, admin.Healthy},
		{"no forge", func(s *admin.Status) { s.Forgejo.Problem = "x" }, admin.Degraded},
		{"no launcher", func(s *admin.Status) { s.Launcher.Problem = "x" }, admin.Degraded},
		{"no store", func(s *admin.Status) { s.Store.Problem = "x" }, admin.Degraded},
		{"a key is missing", func(s *admin.Status) { s.Store.Unreadable = 1 }, admin.Degraded},
		{"a check fails", func(s *admin.Status) { s.Checks = []health.Result{{State: health.OK}, {State: health.Failing}} }, admin.Degraded},
		{"a check warns", func(s *admin.Status) { s.Checks = []health.Result{{State: health.OK}, {State: health.Warning}} }, admin.Healthy},
		{"a check is under way", func(s *admin.Status) { s.Checks = []health.Result{{State: health.Pending}} }, admin.Degraded},
		{"drained", func(s *admin.Status) { s.DrainingSince = time.Now() }, admin.Draining},
		{"drained and ill", func(s *admin.Status) { s.DrainingSince, s.Store.Problem = time.Now(), "x" }, admin.Degraded},
	} {
		var s admin.Status
		tt.change(&s)
		if s.Assess(); s.Health != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, s.Health, tt.want)
		}
	}
}

// maker is an operator who makes backups of ten bytes, and fails after some of them, or
// before.
type maker struct {
	admin.Operator
	before error
	bytes  string
}

func (m maker) Backup(_ context.Context, begin func(int64) io.Writer) error {
	if m.before != nil {
		return m.before
	}
	_, err := io.WriteString(begin(10), m.bytes)
	return err
}

// One that is cut off is no backup, and what keeps it from being made is told.
func TestBackup(t *testing.T) {
	for _, tt := range []struct {
		maker maker
		want  string
	}{
		{maker{bytes: "0123456789"}, ""},
		{maker{bytes: "01234"}, "the broker stopped before the backup was whole; try again"},
		{maker{}, "the broker stopped before the backup was whole; try again"},
		{maker{before: &admin.Error{Text: "the disk is full"}}, "the disk is full"},
		{maker{before: errors.New("secret")}, "cannot make a backup; see the journal of fjmcp-broker"},
	} {
		var out bytes.Buffer
		err := serve(t, tt.maker).Backup(t.Context(), &out)
		if tt.want == "" && (err != nil || out.String() != tt.maker.bytes) || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%+v: %q, %v", tt.maker, out.String(), err)
		}
	}
}
