package client

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// received is what came in a packet.
type received struct {
	request launchproto.Request
	fds     int
}

// answer listens where the launcher would and gives one reply to each request;
// none at all closes the connection.
func answer(t *testing.T, replies ...*launchproto.Reply) (*Systemd, chan received) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "launcher.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan received, len(replies))
	go func() {
		for _, reply := range replies {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			got <- read(c)
			if reply != nil {
				data, _ := json.Marshal(reply)
				c.Write(data)
			}
			c.Close()
		}
	}()
	return NewSystemd(path, 1000), got
}

func read(c *net.UnixConn) (r received) {
	data, oob := make([]byte, 4096), make([]byte, 4096)
	n, oobn, _, _, err := c.ReadMsgUnix(data, oob)
	if err != nil {
		return r
	}
	json.Unmarshal(data[:n], &r.request)
	messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
	for _, m := range messages {
		fds, _ := unix.ParseUnixRights(&m)
		r.fds += len(fds)
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	return r
}

func TestSystemd(t *testing.T) {
	ok := &launchproto.Reply{OK: true, IDs: []string{"aaaaaaaa"}}
	s, got := answer(t, ok, ok, ok, ok, ok)
	spec, _, _ := newSpec(t, "aaaaaaaa")
	ids, listErr := s.List(t.Context())
	if !slices.Equal(ids, ok.IDs) {
		t.Errorf("List() = %q", ids)
	}
	if err := errors.Join(listErr, s.Start(t.Context(), spec), s.Touch(t.Context(), "aaaaaaaa"),
		s.Stop(t.Context(), "aaaaaaaa"), checkError(t.Context(), s)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []received{
		{launchproto.Request{Op: launchproto.OpList}, 0},
		{launchproto.Request{Op: launchproto.OpStart, ID: "aaaaaaaa", Session: "journal01", Account: "account01", IdleSeconds: 600, MaxSeconds: 3600}, 2},
		{launchproto.Request{Op: launchproto.OpTouch, ID: "aaaaaaaa"}, 0},
		{launchproto.Request{Op: launchproto.OpStop, ID: "aaaaaaaa"}, 0},
		{launchproto.Request{Op: launchproto.OpPing}, 0},
	} {
		if r := <-got; r != want {
			t.Errorf("launcher got %+v, want %+v", r, want)
		}
	}
}

func TestSystemdErrors(t *testing.T) {
	s, _ := answer(t, &launchproto.Reply{Code: launchproto.CodeGone, Message: "gone"},
		&launchproto.Reply{Code: launchproto.CodeConfig, Message: "cannot find forgejo-mcp"}, nil)
	if err := s.Touch(t.Context(), "aaaaaaaa"); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
	err := checkError(t.Context(), s)
	if assertCode(t, err, launchproto.CodeConfig).Message != "cannot find forgejo-mcp" || errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	if err := checkError(t.Context(), s); err == nil || !strings.Contains(err.Error(), "without an answer") {
		t.Errorf("got %v", err)
	}
	assertCode(t, s.Stop(t.Context(), "no id"), launchproto.CodeBadRequest)
	if err := checkError(t.Context(), NewSystemd(filepath.Join(t.TempDir(), "absent"), 1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// A number of sessions that the limits of the launcher do not allow is refused with the
// name of each limit, and of what it must be.
func TestSystemdLimits(t *testing.T) {
	ping := func(files, tasks uint64) *launchproto.Reply {
		return &launchproto.Reply{OK: true, Limits: &launchproto.Limits{Files: files, Tasks: tasks}}
	}
	s, _ := answer(t, ping(4024, 16_000), ping(math.MaxUint64, math.MaxUint64), ping(4023, 15_999))
	for range 2 {
		if err := checkError(t.Context(), s); err != nil {
			t.Error(err)
		}
	}
	var e *LimitsError
	if err := checkError(t.Context(), s); !errors.As(err, &e) || len(e.Faults) != 2 {
		t.Fatalf("got %v", err)
	}
	for i, want := range []string{"LimitNOFILE=4024 or more there (systemctl edit fjmcp-launcher.service, systemctl restart fjmcp-launcher.service)", "TasksMax=16000 or more there (systemctl edit fjmcp-sessions.slice)"} {
		if !strings.Contains(e.Faults[i], want) || !strings.Contains(e.Faults[i], "1000 sessions are more") {
			t.Errorf("got %q, want %q in it", e.Faults[i], want)
		}
	}
}

// TestSystemdContext: the launcher does not answer.
func TestSystemdContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "launcher.sock")
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- checkError(ctx, NewSystemd(path, 1)) }()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
