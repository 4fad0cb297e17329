package sandbox_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

func TestEOFEndsTheSession(t *testing.T) {
	forge := newForge(t)
	r := startOn(t, "http", forge, forge.token(t, "alice"))
	r.want(control.TypeReady)
	r.connect().Close()
	r.want(control.TypeExited)
	if got := r.status(); got != 0 {
		t.Errorf("exit status %d", got)
	}
}

// A backend that does not mind the end of its input is stopped when no broker is
// left that could speak to it.
func TestNoBrokerEndsTheSession(t *testing.T) {
	forge := newForge(t)
	r := startOn(t, "http", forge, forge.token(t, "alice"))
	r.want(control.TypeReady)
	r.connect() // holds the MCP socket open
	r.control.Close()
	if got := r.status(); got != 0 {
		t.Errorf("exit status %d", got)
	}
}

// While no broker reads, for however long, the session continues, and the next one
// finds what was said meanwhile.
func TestTheNextBrokerIsTold(t *testing.T) {
	forge := newForge(t)
	alice, bob := forge.token(t, "alice"), forge.token(t, "bob")
	r := startOn(t, "http", forge, alice)
	s := r.connect()
	forge.refuse(alice)
	if text, failed := call(t, s, "get_my_user_info", nil); !failed || !strings.Contains(text, "the forge cannot be reached right now; nothing was done") {
		t.Fatalf("got %q", text) // it waited in vain for a token
	}
	kept, err := r.control.File()
	if err != nil {
		t.Fatal(err)
	}
	r.control.Close()
	if r.control, err = control.FromFile(kept); err != nil { // as out of the descriptor store
		t.Fatal(err)
	}
	kept.Close()
	r.want(control.TypeReady)
	r.want(control.TypeUnauthorized)
	r.push(bob)
	mustCall(t, s, "get_my_user_info", nil, `"bob"`)
}

func TestSIGTERMEndsTheSession(t *testing.T) {
	forge := newForge(t)
	r := startOn(t, "http", forge, forge.token(t, "alice"))
	r.want(control.TypeReady)
	r.connect()
	r.cmd.Process.Signal(syscall.SIGTERM)
	if got := r.status(); got != 0 {
		t.Errorf("exit status %d", got)
	}
	r.want(control.TypeEnding) // and this broker does nothing
	r.want(control.TypeExited)
	if _, err := r.control.Receive(t.Context()); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
}

// A backend that is to end is told so by the end of its input, as by any client, and may
// finish what it does. A signal would be taken for a failure.
func TestEOFComesBeforeTheSignal(t *testing.T) {
	forge := newForge(t)
	saysAtEOF := map[string]string{standinBinary: "its input has ended"}
	if real := os.Getenv("FJMCP_TEST_FORGEJO_MCP"); real != "" {
		saysAtEOF[real] = "MCP stdio server shutdown"
	}
	for backend, said := range saysAtEOF {
		t.Run(filepath.Base(backend), func(t *testing.T) {
			r := start(t, forge.token(t, "alice"), environment(serveHTTP(t, forge), backend)...)
			r.want(control.TypeReady)
			r.connect()
			r.cmd.Process.Signal(syscall.SIGTERM)
			r.want(control.TypeEnding)
			r.stdin.Close()
			r.want(control.TypeExited)
			if got := r.status(); got != 0 {
				t.Errorf("exit status %d", got)
			}
			if log := r.log.String(); !strings.Contains(log, said) || strings.Contains(log, "ERROR") {
				t.Errorf("the backend says\n%s", log)
			}
		})
	}
}

func TestCrashIsReportedWithLastWords(t *testing.T) {
	forge := newForge(t)
	r := startOn(t, "http", forge, forge.token(t, "alice"))
	r.want(control.TypeReady)
	s := r.connect()
	s.CallTool(t.Context(), &mcp.CallToolParams{Name: "crash", Arguments: map[string]any{}})
	m := r.want(control.TypeFailed)
	if m.Reason != control.ReasonCrashed || !strings.Contains(m.Detail, "exit status 3") {
		t.Errorf("got %s: %s", m.Reason, m.Detail)
	}
	if n := len(m.LastLines); n == 0 || m.LastLines[n-1] != "panic: told to crash" || strings.Contains(m.LastLines[0], "\x1b") {
		t.Errorf("last lines %q", m.LastLines)
	}
	if got := r.status(); got != 70 {
		t.Errorf("exit status %d", got)
	}
	if !strings.Contains(r.log.String(), "\nforgejo-mcp: panic: told to crash\n") {
		t.Error("the last words are not in the log")
	}
}
