package operator_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/operator"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// world is a broker whose sessions are all dormant, as after a restart. Running
// ones are in package integration.
type world struct {
	*operator.Operator
	sessions *session.Manager
	store    *store.Store
	log      *bytes.Buffer
	now      time.Time
	state    string // directory
}

func newWorld(t *testing.T, ids ...string) *world {
	t.Helper()
	w := &world{log: &bytes.Buffer{}, now: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)}
	now := func() time.Time { return w.now }
	path := teststore.Path(t)
	w.state = filepath.Dir(path)
	st := teststore.Open(t, path, now)
	w.store = st
	login := teststore.LogIn(t, st, "alice", w.now)
	for i, id := range ids {
		err := st.CreateSession(t.Context(), model.Session{
			ID: id, UserID: login.User.ID, ClientID: login.Client.ID, GrantID: login.Grant.ID, Protocol: "2025-06-18",
			ReadOnly: i == 0, CreatedAt: w.now, LastUsedAt: w.now.Add(time.Duration(i) * time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	events, log := audit.New(w.log), slog.New(slog.DiscardHandler)
	w.sessions = session.New(session.Config{
		Config: unit.Config{Tokens: new(tokens.Tokens), Log: log, Now: now}, Store: st, Audit: events, MaxAge: 24 * time.Hour, PerUser: 8, Max: 200,
	})
	w.Operator = operator.New(operator.Config{
		Settings: &config.Config{Settings: config.Settings{SessionMaxAge: 24 * time.Hour}, Launcher: config.LauncherProcess, PublicURL: &url.URL{}, ForgejoURL: &url.URL{Scheme: "https", Host: "git.example.org"}},
		Sessions: w.sessions, Store: st, Keys: teststore.Keys(t), Audit: events, Log: log, Now: now,
	})
	return w
}

func (w *world) ids(t *testing.T) (ids []string) {
	t.Helper()
	all, err := w.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	return ids
}

func TestShow(t *testing.T) {
	w := newWorld(t, "mcp-session-1", "mcp-session-2")
	ids := w.ids(t)
	d, err := w.Show(t.Context(), ids[0])
	if err != nil || d.ID != ids[0] || d.User != "alice" || d.Client != "test client" || d.ClientID == "" || d.Kind != "client" || d.State != admin.Dormant ||
		d.Unit != "" || !d.ReadOnly || !d.Ends.Equal(w.now.Add(24*time.Hour)) || len(d.Calls) != 0 || d.Launcher != "process" {
		t.Errorf("got %+v, %v", d, err)
	}
	// The operator's ID does not tell the client's, and is not found by it.
	var fault *admin.Error
	if _, err := w.Show(t.Context(), "mcp-session-1"); strings.Contains(ids[0], "mcp") || !errors.As(err, &fault) || !fault.NotFound {
		t.Errorf("%s, %v", ids[0], err)
	}
}

func TestStop(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	ids := w.ids(t)
	done, err := w.Stop(audit.By(t.Context(), "carol (uid 7)"), []string{ids[0], "unknown", ids[2]})
	if err != nil || len(done.Stopped) != 2 || len(done.Failed) != 1 || done.Failed[0].ID != "unknown" || !strings.Contains(done.Failed[0].Error, "there is no session") {
		t.Errorf("got %+v, %v", done, err)
	}
	if left := w.ids(t); len(left) != 1 || left[0] != ids[1] {
		t.Errorf("left: %v of %v", left, ids)
	}
	if n := strings.Count(w.log.String(), `FJMCP_EVENT=session_stopped`); n != 2 || strings.Count(w.log.String(), `FJMCP_OUTCOME=operator FJMCP_OPERATOR="carol (uid 7)"`) != 2 {
		t.Errorf("%d events:\n%s", n, w.log)
	}
	if done, err := w.Stop(t.Context(), ids); err != nil || len(done.Stopped) != 1 || len(done.Failed) != 2 {
		t.Errorf("again: %+v, %v", done, err)
	}
}

// A drain that is begun twice is one, and ends once; nothing starts meanwhile.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	began := w.now
	for range 2 {
		if d, err := w.Drain(t.Context()); err != nil || !d.Since.Equal(began) || len(d.Calls) != 0 {
			t.Fatalf("got %+v, %v", d, err)
		}
		w.now = w.now.Add(time.Minute)
	}
	if _, _, err := w.sessions.Create(t.Context(), model.Access{}, mcp.Message{}); !errors.Is(err, session.ErrDraining) {
		t.Errorf("a new session: %v", err)
	}
	w.Undrain(t.Context())
	w.Undrain(t.Context())
	for _, event := range []string{"FJMCP_EVENT=drained", "FJMCP_EVENT=undrained"} {
		if n := strings.Count(w.log.String(), event); n != 1 {
			t.Errorf("%d of %s:\n%s", n, event, w.log)
		}
	}
	if shut, _ := w.sessions.Door(); !shut.IsZero() {
		t.Errorf("drained since %v", shut)
	}
}

// What is sent is a backup, whole and marked, also where another has left its remains; and
// the audit tells of it.
func TestBackup(t *testing.T) {
	w := newWorld(t, "mcp-session-1", "mcp-session-2")
	before := w.log.Len()
	left := filepath.Join(w.state, "backup-left")
	if err := errors.Join(os.Mkdir(left, 0o700), os.Chtimes(left, w.now.Add(-2*time.Hour), w.now.Add(-2*time.Hour))); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var told int64
	if err := w.Backup(t.Context(), func(size int64) io.Writer { told = size; return &out }); err != nil || int64(out.Len()) != told {
		t.Fatalf("%d bytes of %d: %v", out.Len(), told, err)
	}
	var db bytes.Buffer
	b, err := archive.Read(&out, &db)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Verify(teststore.Keys(t)); err != nil {
		t.Error(err)
	}
	if b.Users != 1 || b.Logins != 1 || b.Sessions != 2 || !b.Made.Equal(w.now) || !bytes.HasPrefix(db.Bytes(), []byte("SQLite format 3\x00")) {
		t.Errorf("got %+v", b.Manifest)
	}
	if text := w.log.String()[before:]; !strings.Contains(text, "FJMCP_EVENT=backup_made") || !strings.Contains(text, b.ID) {
		t.Errorf("the audit tells %q", text)
	}
	if all, _ := filepath.Glob(filepath.Join(w.state, "backup-*")); len(all) > 0 {
		t.Errorf("%v are left", all)
	}
	// Of one that is not taken to its end it tells, too: there may be enough of it.
	before = w.log.Len()
	err = w.Backup(t.Context(), func(int64) io.Writer {
		if err := w.Backup(t.Context(), nil); err == nil || err.Error() != "another backup is under way" {
			t.Errorf("beside another: %v", err)
		}
		return failing{}
	})
	if text := w.log.String()[before:]; !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(text, "FJMCP_EVENT=backup_made FJMCP_OUTCOME=cut_off") {
		t.Errorf("one that nobody takes: %v, %s", err, w.log.String()[before:])
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
