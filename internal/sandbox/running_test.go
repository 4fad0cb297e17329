package sandbox_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/sys/unix"
)

// Binaries built once for all tests.
var sessionBinary, standinBinary string

var sessionBuildFlags []string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "inject-test")
	if err != nil {
		panic(err)
	}
	sessionBinary, standinBinary = build(dir, "cmd/fjmcp-session", sessionBuildFlags...), build(dir, "internal/test/fakemcp")
	if err := os.Chmod(dir, 0o755); err != nil { // for sessions under other uids
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir, pkg string, flags ...string) string {
	out := filepath.Join(dir, filepath.Base(pkg))
	args := append(append([]string{"build", "-o", out}, flags...), "github.com/fjmcp/fjmcp-broker/"+pkg)
	b, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("cannot build %s: %v\n%s", pkg, err, b))
	}
	return out
}

// guardedForge is a testforge that notes the Authorization of each request and
// can refuse single tokens.
type guardedForge struct {
	*fakeforge.Forge
	mu      sync.Mutex
	seen    []string
	refused map[string]bool
}

func (g *guardedForge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	auth := r.Header.Values("Authorization")
	g.mu.Lock()
	g.seen = append(g.seen, strings.Join(auth, ","))
	refuse := g.refused[strings.TrimPrefix(r.Header.Get("Authorization"), "token ")]
	g.mu.Unlock()
	if refuse {
		io.Copy(io.Discard, r.Body)
		http.Error(w, "token is dead", http.StatusUnauthorized)
		return
	}
	g.Forge.ServeHTTP(w, r)
}

func (g *guardedForge) refuse(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused[token] = true
}

func (g *guardedForge) last() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[len(g.seen)-1]
}

func (g *guardedForge) token(t *testing.T, user string) string {
	t.Helper()
	token, err := g.PersonalToken(user, "all")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func newForge(t *testing.T) *guardedForge {
	t.Helper()
	f, err := fakeforge.New(fakeforge.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &guardedForge{Forge: f, refused: map[string]bool{}}
}

// serveHTTP serves h and returns a URL of it under .localhost.
func serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return "http://forgejo.localhost:" + port
}

// serveHTTPS serves h as https://example.com on a unix socket.
func serveHTTPS(t *testing.T, h http.Handler) (url, egress, caFile string) {
	t.Helper()
	dir := t.TempDir()
	egress, caFile = filepath.Join(dir, "egress.sock"), filepath.Join(dir, "ca.pem")
	s := httptest.NewUnstartedServer(h)
	l, err := net.Listen("unix", egress)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener.Close()
	s.Listener = l
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return "https://example.com", egress, caFile
}

// running is one fjmcp-session with the broker's ends of its sockets.
type running struct {
	t       *testing.T
	cmd     *exec.Cmd
	mcp     net.Conn // the backend's standard output
	stdin   *os.File // its standard input
	control *control.Conn
	log     bytes.Buffer // complete once waited
	waited  chan struct{}
	creds   string
}

// nobody is the uid of an unprivileged session.
const nobody = 65534

// startAs starts a session with the stand-in under uid, by http. Needs root.
func startAs(t *testing.T, uid uint32, forge *guardedForge) *running {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: only root can start a session under another uid")
	}
	env := environment(serveHTTP(t, forge), standinBinary)
	return startUnder(t, uid, forge.token(t, "alice"), env)
}

// start runs fjmcp-session with token as its credential, and env.
func start(t *testing.T, token string, env ...string) *running {
	t.Helper()
	return startUnder(t, uint32(os.Getuid()), token, env)
}

// startUnder does what the broker does before there is a session: its first message
// brings a pipe.
func startUnder(t *testing.T, uid uint32, token string, env []string) *running {
	t.Helper()
	return startAfter(t, uid, token, env, func(r *running) { r.first(control.ModeReadOnly) })
}

// firstID is the ID of the first message, whose ack receive passes over.
const firstID = "first"

// first sends the first message, and with it the backend's standard input.
func (r *running) first(m control.Mode) {
	r.t.Helper()
	stdin, w, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	defer stdin.Close()
	r.stdin = w
	r.t.Cleanup(func() { w.Close() })
	if err := r.control.SendFile(r.t.Context(), control.Message{Type: control.TypeMode, ID: firstID, Mode: m, Output: control.MostOutput}, stdin); err != nil {
		r.t.Fatal(err)
	}
}

// startAfter has the broker's ends used before there is a session.
func startAfter(t *testing.T, uid uint32, token string, env []string, use func(*running)) *running {
	t.Helper()
	r := &running{t: t, waited: make(chan struct{}), creds: t.TempDir()}
	if token != "" {
		if err := os.WriteFile(filepath.Join(r.creds, "forgejo-token"), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var mcpRemote, ctlRemote *os.File
	r.mcp, mcpRemote = streamPair(t)
	var err error
	if r.control, ctlRemote, err = control.Pair(); err != nil {
		t.Fatal(err)
	}
	defer mcpRemote.Close()
	defer ctlRemote.Close()
	use(r)
	r.cmd = exec.Command(sessionBinary)
	r.cmd.Env = append([]string{"CREDENTIALS_DIRECTORY=" + r.creds}, env...)
	if uid != uint32(os.Getuid()) {
		r.giveTo(uid)
	}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = mcpRemote, ctlRemote, &r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.cmd.Wait(); close(r.waited) }()
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		<-r.waited
		r.mcp.Close()
		r.control.Close()
		if t.Failed() {
			t.Logf("stderr of fjmcp-session:\n%s", r.log.String())
		}
	})
	return r
}

// giveTo makes the session run under uid and its credential readable for it.
func (r *running) giveTo(uid uint32) {
	r.t.Helper()
	// t.TempDir lies below directories of ours that are closed to others.
	dir, err := os.MkdirTemp("", "inject-test-credentials")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(
		os.Rename(filepath.Join(r.creds, "forgejo-token"), filepath.Join(dir, "forgejo-token")),
		os.Chown(filepath.Join(dir, "forgejo-token"), int(uid), int(uid)),
		os.Chown(dir, int(uid), int(uid)),
	); err != nil {
		r.t.Fatal(err)
	}
	r.creds = dir
	r.cmd.Env = append(r.cmd.Env, "CREDENTIALS_DIRECTORY="+dir)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}

func streamPair(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near := os.NewFile(uintptr(fds[0]), "near")
	defer near.Close()
	conn, err := net.FileConn(near)
	if err != nil {
		t.Fatal(err)
	}
	return conn, os.NewFile(uintptr(fds[1]), "far")
}

// receive returns the next control message, but the first message's ack and what is told
// of repositories, or fails the test after a while.
func (r *running) receive() control.Message {
	r.t.Helper()
	for {
		m := r.next()
		if m.Type != control.TypeTouched && (m.Type != control.TypeAck || m.ID != firstID) {
			return m
		}
	}
}

func (r *running) next() control.Message {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	m, err := r.control.Receive(ctx)
	if err != nil {
		r.t.Fatalf("no control message: %v", err)
	}
	return m
}

func (r *running) want(typ control.Type) control.Message {
	r.t.Helper()
	m := r.receive()
	if m.Type != typ {
		r.t.Fatalf("got %v (%s: %s %q), want %s", m, m.Reason, m.Detail, m.LastLines, typ)
	}
	return m
}

func (r *running) push(token string) {
	r.t.Helper()
	if err := r.control.Send(r.t.Context(), control.Message{Type: control.TypeToken, Token: token}); err != nil {
		r.t.Fatal(err)
	}
}

// mode sets the session's mode and waits until it is in force.
func (r *running) mode(m control.Mode) {
	r.t.Helper()
	if err := r.control.Send(r.t.Context(), control.Message{Type: control.TypeMode, ID: "to " + string(m), Mode: m}); err != nil {
		r.t.Fatal(err)
	}
	if got := r.want(control.TypeAck).ID; got != "to "+string(m) {
		r.t.Fatalf("%q was confirmed, not %s", got, m)
	}
}

// status waits for the end of fjmcp-session.
func (r *running) status() int {
	r.t.Helper()
	select {
	case <-r.waited:
	case <-time.After(30 * time.Second):
		r.t.Fatal("fjmcp-session does not end")
	}
	return r.cmd.ProcessState.ExitCode()
}

// connect initializes MCP.
func (r *running) connect() *mcp.ClientSession {
	r.t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s, err := client.Connect(r.t.Context(), &mcp.IOTransport{Reader: r.mcp, Writer: r.stdin}, nil)
	if err != nil {
		r.t.Fatalf("cannot initialize: %v", err)
	}
	return s
}

// call calls a tool and returns its text and whether it failed.
func call(t *testing.T, s *mcp.ClientSession, tool string, args any) (text string, failed bool) {
	t.Helper()
	if args == nil {
		args = map[string]any{}
	}
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	for _, c := range res.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			text += c.Text
		}
	}
	return text, res.IsError
}

// mustCall wants a tool's answer to hold want.
func mustCall(t *testing.T, s *mcp.ClientSession, tool string, args any, want string) {
	t.Helper()
	text, failed := call(t, s, tool, args)
	if failed || !strings.Contains(text, want) {
		t.Fatalf("%s: got %q (failed: %v), want …%s…", tool, text, failed, want)
	}
}

func environment(url, backend string) []string {
	return []string{"FJMCP_SESSION_FORGEJO_URL=" + url, "FJMCP_SESSION_FORGEJO_MCP=" + backend}
}
