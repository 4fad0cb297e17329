package sandbox_test

import (
	"os"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// The pipe is there with the first message before fjmcp-session is, and is the
// backend's standard input from then on; the message itself is obeyed.
func TestStandardInputComesWithTheFirstMessage(t *testing.T) {
	forge := newForge(t)
	env := environment(serveHTTP(t, forge), standinBinary)
	r := startAfter(t, uint32(os.Getuid()), forge.token(t, "alice"), env, func(r *running) { r.first(control.ModeReadWrite) })
	if m := r.next(); m.Type != control.TypeAck || m.ID != firstID {
		t.Errorf("the first message was answered with %v", m)
	}
	r.want(control.TypeReady)
	mustCall(t, r.connect(), "get_my_user_info", nil, `"alice"`)
	r.stdin.Close()
	r.want(control.TypeExited)
	if status := r.status(); status != 0 {
		t.Errorf("it ended with status %d", status)
	}
}

// Without it there is nothing to read from: the session says so and runs no backend.
func TestNoFirstMessage(t *testing.T) {
	forge := newForge(t)
	r := startAfter(t, uint32(os.Getuid()), forge.token(t, "alice"), environment(serveHTTP(t, forge), standinBinary), func(*running) {})
	m := r.want(control.TypeFailed)
	if m.Reason != control.ReasonInternal || !strings.Contains(m.Detail, "no pipe came") {
		t.Errorf("it failed with %s: %s", m.Reason, m.Detail)
	}
	if status := r.status(); status != 71 {
		t.Errorf("it ended with status %d, want 71", status)
	}
}
