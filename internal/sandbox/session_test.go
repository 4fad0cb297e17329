package sandbox_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

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
	mux.HandleFunc("/attachments/leave", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief, http.StatusFound) })
	mux.HandleFunc("/attachments/stay", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/api/v1/version", http.StatusFound) })
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
			mustCall(t, s, "fetch_url", fetch(url+"/attachments/leave"), refusal)
			mustCall(t, s, "fetch_url", fetch(url+"/attachments/stay"), "200 OK")
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

// Nobody can say whether the login is dead then.
func TestUnauthorizedWhenTheBrokerIsGone(t *testing.T) {
	forge := newForge(t)
	alice := forge.token(t, "alice")
	r := startOn(t, "http", forge, alice)
	r.want(control.TypeReady)
	s := r.connect()
	r.control.Close()
	mustCall(t, s, "get_my_user_info", nil, `"alice"`) // the session continues
	forge.refuse(alice)
	if text, failed := call(t, s, "get_my_user_info", nil); !failed || !strings.Contains(text, "cannot be renewed right now; nothing was done") {
		t.Fatalf("got %q", text)
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
	r := start(t, "a-token", "FJMCP_SESSION_FORGEJO_URL=ftp://x", "FJMCP_SESSION_FORGEJO_MCP=forgejo-mcp", "FJMCP_SESSION_EGRESS=egress.sock", "FJMCP_SESSION_ROUTES=keys")
	m := r.want(control.TypeFailed)
	if got := r.status(); got != 78 {
		t.Errorf("exit status %d", got)
	}
	for _, name := range []string{"FJMCP_SESSION_FORGEJO_URL", "FJMCP_SESSION_FORGEJO_MCP", "FJMCP_SESSION_EGRESS", "FJMCP_SESSION_ROUTES"} {
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
