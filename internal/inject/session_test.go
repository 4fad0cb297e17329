package inject_test

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

	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/testforge"
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
	sessionBinary, standinBinary = build(dir, "cmd/fjmcp-session", sessionBuildFlags...), build(dir, "internal/standin")
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
	*testforge.Forge
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
	f, err := testforge.New(testforge.Config{})
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
	mcp     net.Conn
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

// startUnder has no pipe come with the first message, as a broker of before did.
func startUnder(t *testing.T, uid uint32, token string, env []string) *running {
	t.Helper()
	return startAfter(t, uid, token, env, func(*running) {})
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

// receive returns the next control message, or fails the test after a while.
func (r *running) receive() control.Message {
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
	return r.connectOver(r.mcp)
}

func (r *running) connectOver(stdin io.WriteCloser) *mcp.ClientSession {
	r.t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s, err := client.Connect(r.t.Context(), &mcp.IOTransport{Reader: r.mcp, Writer: stdin}, nil)
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

func TestTokenIsInjectedAndSwapped(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			forge := newForge(t)
			alice, bob := forge.token(t, "alice"), forge.token(t, "bob")
			r := startOn(t, scheme, forge, alice)
			r.want(control.TypeReady)
			s := r.connect()
			mustCall(t, s, "get_my_user_info", nil, `"alice"`)
			if got := forge.last(); got != "token "+alice {
				t.Errorf("the forge saw Authorization %q", got)
			}
			r.push(bob)
			waitFor(t, "bob's token is in use", func() bool {
				text, _ := call(t, s, "get_my_user_info", nil)
				return strings.Contains(text, `"bob"`)
			})
		})
	}
}

// startOn starts a session with the stand-in on forge, by http or by https
// through an egress socket.
func startOn(t *testing.T, scheme string, forge http.Handler, token string) *running {
	t.Helper()
	if scheme == "http" {
		return start(t, token, environment(serveHTTP(t, forge), standinBinary)...)
	}
	url, egress, ca := serveHTTPS(t, forge)
	return start(t, token, append(environment(url, standinBinary),
		"FJMCP_SESSION_EGRESS="+egress, "FJMCP_SESSION_FORGEJO_CA_FILE="+ca)...)
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	var stolen []string
	var mu sync.Mutex
	thief := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		stolen = append(stolen, r.Header.Get("Authorization"))
	}))
	forge := newForge(t)
	mux := http.NewServeMux()
	mux.Handle("/", forge)
	mux.HandleFunc("/leave", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief, http.StatusFound) })
	mux.HandleFunc("/stay", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/api/v1/version", http.StatusFound) })
	token := forge.token(t, "alice")
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			url := "https://example.com"
			var r *running
			if scheme == "http" {
				url = serveHTTP(t, mux)
				r = start(t, token, environment(url, standinBinary)...)
			} else {
				r = startOn(t, scheme, mux, token)
			}
			s := r.connect()
			const refusal = "may be reached from here"
			fetch := func(url string) any { return map[string]any{"url": url} }
			mustCall(t, s, "fetch_url", fetch(thief), "403 Forbidden\nfjmcp: only the configured forge")
			mustCall(t, s, "fetch_url", fetch(url+"/leave"), refusal)
			mustCall(t, s, "fetch_url", fetch(url+"/stay"), "200 OK")
			// Another scheme, port or host of the forge is another origin. An https
			// URL shows the refusal of CONNECT as an error.
			for _, other := range []string{"https://forgejo.localhost/", "https://example.com:8443/", "https://example.com.evil.test/"} {
				if text, failed := call(t, s, "fetch_url", fetch(other)); !failed || !strings.Contains(text, "Forbidden") {
					t.Errorf("%s: got %q", other, text)
				}
			}
			mustCall(t, s, "fetch_url", fetch("http://example.com/"), refusal)
		})
	}
	if len(stolen) > 0 {
		t.Errorf("another host was reached with Authorization %q", stolen)
	}
}

func TestRequestIsHeldForANewToken(t *testing.T) {
	forge := newForge(t)
	alice, bob := forge.token(t, "alice"), forge.token(t, "bob")
	r := startOn(t, "https", forge, alice)
	r.want(control.TypeReady)
	r.mode(control.ModeReadWrite)
	s := r.connect()
	forge.refuse(alice)
	answered := make(chan string)
	go func() {
		text, _ := call(t, s, "create_issue", map[string]any{"owner": "bob", "repo": repoOf(t, forge, bob), "title": "held"})
		answered <- text
	}()
	r.want(control.TypeUnauthorized)
	select {
	case text := <-answered:
		t.Fatalf("the request was not held: %s", text)
	default:
	}
	r.push(bob)
	if text := <-answered; !strings.Contains(text, `"held"`) {
		t.Fatalf("the request was not sent again whole: %s", text)
	}
	mustCall(t, s, "get_my_user_info", nil, `"bob"`)
}

// repoOf names a repository of the token's user.
func repoOf(t *testing.T, forge *guardedForge, token string) string {
	req := httptest.NewRequest(http.MethodGet, "/api/v1/user/repos", nil)
	req.Header.Set("Authorization", "token "+token)
	w := httptest.NewRecorder()
	forge.Forge.ServeHTTP(w, req)
	_, rest, _ := strings.Cut(w.Body.String(), `"full_name":"bob/`)
	name, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Errorf("bob has no repository: %s", w.Body)
	}
	return name
}

func TestUnauthorizedPassesWhenTheBrokerIsGone(t *testing.T) {
	forge := newForge(t)
	alice := forge.token(t, "alice")
	r := startOn(t, "http", forge, alice)
	r.want(control.TypeReady)
	s := r.connect()
	r.control.Close()
	mustCall(t, s, "get_my_user_info", nil, `"alice"`) // the session goes on
	forge.refuse(alice)
	if text, failed := call(t, s, "get_my_user_info", nil); !failed || !strings.Contains(text, "401") {
		t.Fatalf("got %q", text)
	}
}

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

// While no broker reads, for however long, the session goes on, and the next one
// finds what was said meanwhile.
func TestTheNextBrokerIsTold(t *testing.T) {
	forge := newForge(t)
	alice, bob := forge.token(t, "alice"), forge.token(t, "bob")
	r := startOn(t, "http", forge, alice)
	s := r.connect()
	forge.refuse(alice)
	if text, failed := call(t, s, "get_my_user_info", nil); !failed || !strings.Contains(text, "401") {
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
	r.want(control.TypeExited)
	if _, err := r.control.Receive(t.Context()); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
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
	if !strings.Contains(r.log.String(), "\npanic: told to crash\n") {
		t.Error("the last words are not in the log")
	}
}

func TestFailures(t *testing.T) {
	script := func(text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "backend")
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	versioned := func(v string) string {
		return script("#!/bin/sh\n[ \"$1\" = --version ] && echo forgejo-mcp "+v+" && exit\necho unknown flag >&2\nexit 2\n", 0o755)
	}
	answer := func(status int) string {
		return serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	}
	dead := httptest.NewServer(http.NotFoundHandler())
	_, deadPort, _ := net.SplitHostPort(dead.Listener.Addr().String())
	dead.Close()
	tests := []struct {
		name, url, backend string
		reason             control.Reason
		detail             string
		status             int
	}{
		{"missing", "", "/nonexistent/forgejo-mcp", control.ReasonBackendMissing, "there is no /nonexistent/forgejo-mcp", 72},
		{"mode", "", script("#!/bin/sh\n", 0o644), control.ReasonBackendNotExecutable, "mode 0755", 72},
		{"directory", "", t.TempDir(), control.ReasonBackendNotExecutable, "cannot be executed", 72},
		{"no program", "", script("text", 0o755), control.ReasonBackendNotExecutable, "exec format error", 72},
		{"too old", "", versioned("version 2.17.9"), control.ReasonBackendTooOld, "is version 2.17.9: install 2.18.0", 72},
		{"own fault", "", versioned("version 2.18.0"), control.ReasonCrashed, "exit status 2", 70},
		{"no version", "", versioned("dev"), control.ReasonCrashed, "exit status 2", 70},
		{"killed", "", script("#!/bin/sh\nkill -9 $$\n", 0o755), control.ReasonCrashed, "signal: killed", 70},
		{"nobody listens", "http://forgejo.localhost:" + deadPort, standinBinary, control.ReasonForgeUnreachable, "connection refused", 69},
		{"bad gateway", answer(http.StatusBadGateway), standinBinary, control.ReasonForgeUnreachable, "answered 502", 69},
		{"suspended", answer(http.StatusForbidden), standinBinary, control.ReasonTokenRefused, "answered 403", 77},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := tt.url
			if url == "" {
				url = "http://forgejo.localhost:3000"
			}
			r := start(t, "a-token", environment(url, tt.backend)...)
			m := r.receive()
			for m.Type == control.TypeReady || m.Type == control.TypeForbidden {
				m = r.receive()
			}
			if m.Type != control.TypeFailed || m.Reason != tt.reason || !strings.Contains(m.Detail, tt.detail) {
				t.Errorf("got %v %s: %s; want %s: …%s", m, m.Reason, m.Detail, tt.reason, tt.detail)
			}
			if got := r.status(); got != tt.status {
				t.Errorf("exit status %d, want %d", got, tt.status)
			}
			if log := r.log.String(); !strings.Contains(log, tt.detail) || strings.Contains(log, "a-token") {
				t.Errorf("the log lacks the reason, or has the token:\n%s", log)
			}
		})
	}
}

func TestUntrustedCertificateIsUnreachable(t *testing.T) {
	url, egress, _ := serveHTTPS(t, newForge(t))
	r := start(t, "a-token", append(environment(url, standinBinary), "FJMCP_SESSION_EGRESS="+egress)...)
	r.want(control.TypeReady)
	if m := r.want(control.TypeFailed); m.Reason != control.ReasonForgeUnreachable || !strings.Contains(m.Detail, "certificate") {
		t.Errorf("got %s: %s", m.Reason, m.Detail)
	}
}

func TestBadCredential(t *testing.T) {
	for name, token := range map[string]string{"absent": "", "empty": "\n", "two lines": "a\nb"} {
		t.Run(name, func(t *testing.T) {
			r := start(t, token, environment("http://forgejo.localhost:3000", standinBinary)...)
			if m := r.want(control.TypeFailed); m.Reason != control.ReasonInternal {
				t.Errorf("got %s: %s", m.Reason, m.Detail)
			}
			if got := r.status(); got != 71 {
				t.Errorf("exit status %d", got)
			}
		})
	}
}

// The process launcher hands the token over through a pipe.
func TestCredentialFromAPipe(t *testing.T) {
	forge := newForge(t)
	token := forge.token(t, "alice")
	dir := t.TempDir()
	pipe := filepath.Join(dir, "forgejo-token")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, "", append(environment(serveHTTP(t, forge), standinBinary), "CREDENTIALS_DIRECTORY="+dir)...)
	if err := os.WriteFile(pipe, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	r.want(control.TypeReady)
	mustCall(t, r.connect(), "get_my_user_info", nil, `"alice"`)
}

func TestFaultyConfigurationIsListed(t *testing.T) {
	r := start(t, "a-token", "FJMCP_SESSION_FORGEJO_URL=ftp://x", "FJMCP_SESSION_FORGEJO_MCP=forgejo-mcp", "FJMCP_SESSION_EGRESS=egress.sock", "FJMCP_SESSION_DENIED_PATHS=keys")
	m := r.want(control.TypeFailed)
	if got := r.status(); got != 78 {
		t.Errorf("exit status %d", got)
	}
	for _, name := range []string{"FJMCP_SESSION_FORGEJO_URL", "FJMCP_SESSION_FORGEJO_MCP", "FJMCP_SESSION_EGRESS", "FJMCP_SESSION_DENIED_PATHS"} {
		if !strings.Contains(r.log.String(), name+":") || !strings.Contains(m.Detail, name+":") {
			t.Errorf("%s is not listed in the log and the report", name)
		}
	}
}

func TestStartedByHand(t *testing.T) {
	out, err := exec.Command(sessionBinary).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 78 || !strings.Contains(string(out), "not by hand") {
		t.Errorf("got %v: %s", err, out)
	}
	if out, err := exec.Command(sessionBinary, "--version").Output(); err != nil || !strings.HasPrefix(string(out), "fjmcp-session ") {
		t.Errorf("--version: %v: %s", err, out)
	}
}

// The forge's own loopback address works where the session has a network of its
// own; here the forge is behind the egress socket and the address is free.
func TestLoopbackForge(t *testing.T) {
	forge := newForge(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	env := append(environment(url, standinBinary), "FJMCP_SESSION_EGRESS="+serveUnix(t, forge))
	t.Run("private network", func(t *testing.T) {
		r := start(t, forge.token(t, "alice"), append(env, "FJMCP_SESSION_PRIVATE_NETWORK=1")...)
		r.want(control.TypeReady)
		mustCall(t, r.connect(), "get_my_user_info", nil, `"alice"`)
	})
	t.Run("shared network", func(t *testing.T) {
		r := start(t, "a-token", env...)
		if m := r.want(control.TypeFailed); !strings.Contains(m.Detail, "forgejo.localhost") {
			t.Errorf("the cure is not named: %s", m.Detail)
		}
	})
}

// serveUnix serves h on a unix socket and returns its path.
func serveUnix(t *testing.T, h http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "egress.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return path
}
