package session_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

func TestBackendThatKeepsDyingIsLeftAlone(t *testing.T) {
	const hello = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	const opened = "the backend keeps ending by itself"
	w := start(t, "standin")
	s, _, err := w.Create(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
	w.must(err)
	crash := func() {
		t.Helper()
		c, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"crash"}}`))
		w.must(err)
		if _, err := c.Next(t.Context()); !errors.Is(err, relay.ErrClosed) {
			t.Fatalf("got %v", err)
		}
		w.until("its unit is gone", func() bool { list, err := w.List(t.Context()); w.must(err); return !list[0].Running() })
	}
	crash()
	crash()
	if strings.Contains(w.log.String(), opened) {
		t.Fatal("the circuit opened too early")
	}
	crash()
	w.until("the circuit is open", func() bool { return strings.Contains(w.log.String(), opened) })
	for range 3 {
		_, err = s.Call(t.Context(), w.access, message(hello))
		var fail *session.StartError
		if !errors.As(err, &fail) || fail.Reason != session.ReasonCrashLoop || fail.RetryAfter <= 0 || fail.RetryAfter > 10*time.Second {
			t.Fatalf("got %v", err)
		}
	}
	w.advance(10 * time.Second)
	w.call(s, w.access, hello)
	crash() // it has not lived for a minute
	w.until("the circuit is open again", func() bool { return strings.Count(w.log.String(), opened) == 2 })
	w.advance(11 * time.Second)
	if _, err = s.Call(t.Context(), w.access, message(hello)); session.StartReason(err) != session.ReasonCrashLoop {
		t.Fatalf("got %v", err)
	}
	w.advance(10 * time.Second)
	w.call(s, w.access, hello)
	if !strings.Contains(w.log.String(), "panic: told to crash") {
		t.Error("the last words are not in the log")
	}
}

// held is a launcher that stops nothing until it is let.
type held struct {
	launchclient.Launcher
	let chan struct{}
}

func (h held) Stop(ctx context.Context, id string) error {
	<-h.let
	return h.Launcher.Stop(ctx, id)
}

// The next unit may start before the end of the last one is known in full.
func TestDeathOfAReplacedUnitCounts(t *testing.T) {
	w := start(t, "standin")
	launcher := held{w.cfg.Launcher, make(chan struct{})}
	let := sync.OnceFunc(func() { close(launcher.let) })
	t.Cleanup(let)
	w.cfg.Launcher = launcher
	w.Manager = session.New(w.cfg)
	s, _, err := w.Create(t.Context(), w.access, message(initialize))
	w.must(err)
	c, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"crash"}}`))
	w.must(err)
	if _, err := c.Next(t.Context()); !errors.Is(err, relay.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	w.call(s, w.access, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	let()
	w.until("the death is told", func() bool { return strings.Contains(w.log.String(), "FJMCP_EVENT=session_failed") })
}
