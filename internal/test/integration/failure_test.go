package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// A session that cannot start tells the client which of the reasons it is, and
// the operator more.
func TestSessionCannotStart(t *testing.T) {
	for _, tc := range []struct {
		name, backend   string
		breaks          func(*testing.T, *world)
		client, journal string // client is in the error of a JSON-RPC response
	}{
		{"binary missing", "/nonexistent/forgejo-mcp", nil, "missing or cannot be run", "/nonexistent/forgejo-mcp"},
		{"not executable", notExecutable(t), nil, "missing or cannot be run", "FJMCP_OUTCOME=backend_not_executable"},
		{"too old", "old", nil, "2.18.0 or newer", "FJMCP_OUTCOME=backend_too_old"},
		{"no MCP server", "/bin/true", nil, "ended unexpectedly", "FJMCP_OUTCOME=crashed"},
		{"crash before initialize", "/bin/false", nil, "ended unexpectedly", "FJMCP_OUTCOME=crashed"},
		{"forge unreachable", "standin", func(_ *testing.T, w *world) { w.forge.Stop() }, "Forgejo cannot be reached", "FJMCP_OUTCOME=forge_unreachable"},
		{"forge answers 502", "standin", breakAPI, "Forgejo cannot be reached", "FJMCP_OUTCOME=forge_unreachable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, "standin")
			c := w.mustConnect("alice")
			token := w.token(c)
			w = w.withBackend(t, tc.backend)
			if tc.breaks != nil {
				tc.breaks(t, w)
			}
			r := w.post(token, "", initialize)
			if r.status != 200 || !strings.Contains(r.body, tc.client) || !strings.HasPrefix(r.body, `{"jsonrpc":"2.0","id":0,"error"`) {
				t.Errorf("client got %d %s, want an error with %q", r.status, r.body, tc.client)
			}
			w.waitLog(tc.journal, 1)
		})
	}
}

// Whose account is suspended logs in again, at the first request.
func TestSuspendedCannotStart(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.mustConnect("alice"))
	w = w.withBackend(t, "standin")
	w.must(w.forge.Suspend("alice", true))
	if r := w.post(token, "", initialize); r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("client got %d %q %s", r.status, r.header.Get("WWW-Authenticate"), r.body)
	}
	w.waitLog("FJMCP_OUTCOME=token_refused", 1)
}

func notExecutable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forgejo-mcp")
	if err := os.WriteFile(path, []byte("not a program"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func breakAPI(t *testing.T, w *world) {
	t.Helper()
	if err := w.forge.Inject(fakeforge.Fault{Path: fakeforge.APIPath, Kind: "status", Status: 502}); err != nil {
		t.Fatal(err)
	}
}

// withBackend restarts the broker with another backend.
func (w *world) withBackend(t *testing.T, backend string) *world {
	t.Helper()
	if !filepath.IsAbs(backend) {
		backend = filepath.Join(bin, backend)
	}
	w.broker.Setenv("FJMCP_BROKER_FORGEJO_MCP", backend)
	if err := w.broker.Restart(t.Context(), w.program()); err != nil {
		t.Fatal(err)
	}
	return w
}

// When the cause goes, everything works again without a restart.
func TestForgeComesBack(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	w.forge.Stop()
	if _, err := call(t.Context(), c, "get_my_user_info", nil); err == nil {
		t.Fatal("a call worked without a forge")
	}
	if r := w.post(w.token(c), "", initialize); !strings.Contains(r.body, "Forgejo cannot be reached") {
		t.Fatalf("initialize gave %d %s", r.status, r.body)
	}
	if err := w.forge.Resume(); err != nil {
		t.Fatal(err)
	}
	w.mustCall(c, "get_my_user_info", nil, "alice")
	if r := w.post(w.token(c), "", initialize); r.status != 200 || !strings.Contains(r.body, `"result"`) {
		t.Fatalf("initialize gave %d %s", r.status, r.body)
	}
}

func TestChildDiesMidCall(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	if _, err := call(t.Context(), c, "crash", nil); err == nil || !strings.Contains(err.Error(), "ended unexpectedly") {
		t.Fatalf("got %v", err)
	}
	w.waitLog("told to crash", 1)
	w.mustCall(c, "get_my_user_info", nil, "alice") // the next request wakes it
}

// A token the forge no longer takes is replaced under a running session.
func TestExpiredForgejoToken(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	w.forge.ExpireAccessTokens()
	w.mustCall(c, "get_my_user_info", nil, "alice")
}

// A login that the user revoked at the forge sends the client to log in again.
func TestRevokedAtTheForge(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token, id := w.token(c), c.ID()
	if _, err := w.forge.RevokeGrants("alice"); err != nil {
		t.Fatal(err)
	}
	r := w.post(token, id, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_my_user_info","arguments":{}}}`)
	if r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Fatalf("got %d %q %s", r.status, r.header.Get("WWW-Authenticate"), r.body)
	}
	w.mustConnect("alice")
}

// With a lost login its sessions end for good. Another login begins others, at once.
func TestRevivedAtTheForge(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token, id := w.token(c), c.ID()
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`
	whoami := fmt.Sprintf(call, "get_my_user_info", "{}")
	if _, err := w.forge.RevokeGrants("alice"); err != nil {
		t.Fatal(err)
	}
	if r := w.post(token, id, whoami); r.status != 401 {
		t.Fatalf("a revoked login gave %d %s", r.status, r.body)
	}
	again := w.mustConnect("alice")
	w.mustCall(again, "get_my_user_info", nil, "alice")
	w.waitLog("FJMCP_OUTCOME=revoked", 1)
	if r := w.post(token, id, whoami); r.status != 404 {
		t.Fatalf("the session of the lost login gave %d %s", r.status, r.body)
	}
	if r := w.post(w.token(again), again.ID(), fmt.Sprintf(call, "list_repo_issues", `{"owner":"alice","repo":"no-such"}`)); r.status != 200 {
		t.Errorf("a tool's own error gave %d %s", r.status, r.body)
	}
}

func TestRefusedRequests(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token, id := w.token(c), c.ID()
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for _, tc := range []struct {
		name, method, token, session, body string
		header                             []string
		status                             int
		want                               string
	}{
		{"no token", "POST", "", id, ping, nil, 401, ""},
		{"unknown token", "POST", "nonsense", id, ping, nil, 401, ""},
		{"no token comes before everything", "POST", "", "", "{", []string{"Content-Type", "text/plain", "Origin", "https://evil.example"}, 401, ""},
		{"GET without a token", "GET", "", "", "", nil, 401, ""},
		{"HEAD without a token", "HEAD", "", "", "", nil, 401, ""},
		{"GET without a session", "GET", token, "", "", nil, 405, "GET, POST, DELETE"},
		{"GET for something else", "GET", token, id, "", []string{"Accept", "text/html"}, 405, "GET, POST, DELETE"},
		{"PUT", "PUT", token, id, ping, nil, 405, "GET, POST, DELETE"},
		{"foreign origin", "POST", token, id, ping, []string{"Origin", "https://evil.example"}, 403, "Origin"},
		{"loopback origin", "POST", token, id, ping, []string{"Origin", "http://localhost:6274"}, 200, `"result"`},
		{"wrong type", "POST", token, id, ping, []string{"Content-Type", "text/plain"}, 415, "application/json"},
		{"not JSON", "POST", token, id, `{"jsonrpc"`, nil, 400, "-32700"},
		{"not JSON-RPC", "POST", token, id, `{"a":1}`, nil, 400, "-32600"},
		{"no session, and one is needed", "POST", token, "", `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}`, nil, 400, "send initialize first"},
		{"no session, and none is needed", "POST", token, "", ping, nil, 200, `"result"`},
		{"unknown session", "POST", token, "nonsense", ping, nil, 404, "Session not found"},
		{"unknown revision", "POST", token, id, ping, []string{"MCP-Protocol-Version", "1999-01-01"}, 400, "MCP-Protocol-Version"},
		{"newer revision's header in an older session", "POST", token, id, ping, []string{"MCP-Protocol-Version", "2026-07-28"}, 200, `"result"`},
		{"any Accept", "POST", token, id, ping, []string{"Accept", "*/*"}, 200, `"result"`},
		{"no Accept", "POST", token, id, ping, []string{"Accept", ""}, 200, `"result"`},
		{"Accept with weights", "POST", token, id, ping, []string{"Accept", "text/html, application/*;q=0.8"}, 200, `"result"`},
		{"Accept JSON alone", "POST", token, id, ping, []string{"Accept", "application/json"}, 200, `"result"`},
		{"Accept something else", "POST", token, id, ping, []string{"Accept", "text/html"}, 406, "application/json"},
		{"notification", "POST", token, id, `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`, nil, 202, ""},
		{"answer to nothing", "POST", token, id, `{"jsonrpc":"2.0","id":"x","result":{}}`, nil, 400, "answers no request"},
		{"unknown method", "POST", token, id, `{"jsonrpc":"2.0","id":1,"method":"no/such"}`, nil, 200, "-32601"},
		{"too large", "POST", token, id, `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", 65<<20) + `"}}`, nil, 413, "too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := w.do(tc.method, tc.token, tc.session, tc.body, tc.header...)
			if r.status != tc.status || !strings.Contains(r.body, tc.want) && !strings.Contains(r.header.Get("Allow"), tc.want) {
				t.Fatalf("got %d %.300s, want %d with %q", r.status, r.body, tc.status, tc.want)
			}
			if challenge := r.header.Get("WWW-Authenticate"); r.status == 401 && !strings.HasPrefix(challenge, "Bearer ") {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
	w.mustCall(c, "get_my_user_info", nil, "alice")
}
