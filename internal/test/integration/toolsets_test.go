package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// bound logs alice in with a resource, "" for none, and returns the access token.
func (w *world) bound(resource string) string {
	w.t.Helper()
	client, err := w.register(w.t.Context())
	w.must(err)
	to := w.authorizeURL(client)
	if resource != "" {
		to += "&resource=" + url.QueryEscape(w.url+resource)
	}
	r, err := loginclient.NewBrowser(w.transport, "alice", "alice-password").Authorize(w.t.Context(), to)
	w.must(err)
	tokens, err := w.redeem(w.t.Context(), w.url, codeForm(client, r.Code))
	w.must(err)
	if tokens.status != 200 {
		w.t.Fatalf("token: %d %s", tokens.status, tokens.body)
	}
	return tokens.field("access_token")
}

// Each address with each header and each kind of token: what comes of it says what is
// wrong, in this order: the address, the token, the headers.
func TestAddressesHeadersAndTokens(t *testing.T) {
	w := startAt(t, "/fjmcp", "standin")
	// Which of the addresses, by their places in the list, each token opens.
	addresses := strings.Fields("/mcp /mcp/ /mcp/x/all /mcp/readonly /mcp/x/all/readonly/ /mcp/x/issues /mcp/x/issues/readonly /mcp/x/wiki /mcp/x/nothing /mcp/x/issues%2freadonly")
	tokens := map[string][]int{
		"":                       {0, 1, 2, 3, 4, 5, 6, 7},
		"/sse":                   {0, 1, 2, 3, 4, 5, 6, 7},
		"/mcp/x/all":             {0, 1, 2, 3, 4, 5, 6, 7},
		"/mcp/readonly":          {3, 4, 6},
		"/mcp/x/issues/":         {5, 6},
		"/mcp/x/issues/readonly": {6},
		"/mcp/x/wiki":            {7},
	}
	headers := []struct {
		name, value string
		status      int // at addresses of all toolsets
		of          int // at those of one
	}{
		{"X-MCP-Toolsets", "", 200, 200}, {"X-MCP-Toolsets", "issues, wiki", 200, 400}, {"X-MCP-Toolsets", "issues,nothing", 400, 400}, {"X-MCP-Toolsets", "all", 200, 200},
		{"X-MCP-Readonly", "true", 200, 200}, {"X-MCP-Readonly", "false", 200, 200}, {"X-MCP-Readonly", "", 200, 200}, {"X-MCP-Readonly", "perhaps", 400, 400},
	}
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for resource, opens := range tokens {
		token := w.bound(resource)
		good := map[int]bool{}
		for _, i := range opens {
			good[i] = true
		}
		for i, address := range addresses {
			for _, h := range headers {
				want, said := h.status, ""
				switch {
				case i >= 8:
					want, said = 404, "organizations, users, administration"
				case !good[i]:
					want, said = 401, "this token is for "+w.url+strings.TrimSuffix(resource, "/")+";"
				case strings.Contains(address, "issues"), strings.Contains(address, "wiki"):
					want = h.of
				}
				if want == 400 {
					said = h.name
				}
				r := w.doAt("POST", address, token, ping, "Accept", "*/*", h.name, h.value)
				if r.status != want || !strings.Contains(r.body, said) {
					t.Errorf("a token for %q at %s with %s %q: %d %s, want %d and %q", resource, address, h.name, h.value, r.status, r.body, want, said)
				}
				where := fmt.Sprintf("resource_metadata=%q", w.broker.URL+"/.well-known/oauth-protected-resource/fjmcp"+address)
				if got := r.header.Get("WWW-Authenticate"); want == 401 && (!strings.Contains(got, where) || !strings.Contains(got, "invalid_token")) || want != 401 && got != "" {
					t.Errorf("a token for %q at %s: %s", resource, address, got)
				}
			}
		}
	}
}

// The Go SDK's client, which is told nothing but the address, logs in for it alone.
func TestClientLogsInAtAnAddress(t *testing.T) {
	for prefix, address := range map[string]string{"": "/mcp/x/issues/readonly", "/fjmcp": "/mcp/x/issues/readonly/"} {
		w := startAt(t, prefix, "standin")
		b := loginclient.NewBrowser(w.transport, "alice", "alice-password")
		c, err := loginclient.Connect(t.Context(), loginclient.Config{MCPURL: w.url + address, Transport: w.transport, Browser: b})
		if err != nil {
			t.Fatal(err)
		}
		w.mustCall(c, "list_repo_issues", map[string]any{"owner": "alice", "repo": "hello"}, "First issue")
		if said, err := call(t.Context(), c, "create_issue", newIssue); err == nil {
			t.Errorf("an issue was made: %s", said)
		}
		token := w.token(c)
		for path, want := range map[string]int{"/mcp": 401, "/mcp/readonly": 401, "/mcp/x/issues": 401, "/mcp/x/wiki/readonly": 401, "/mcp/x/issues/readonly": 200} {
			if r := w.doAt("POST", path, token, `{"jsonrpc":"2.0","id":1,"method":"ping"}`); r.status != want {
				t.Errorf("%s: %d %s", path, r.status, r.body)
			}
		}
		w.must(c.Close())
	}
}

// An address or a header for reading makes a session that reads only, whatever its token
// could do, over sleep and restarts. Nothing in the session changes that: not the same
// token, which may write elsewhere.
func TestReadOnlyAddress(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=1s")
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	at := func(path, session, body string, header ...string) response {
		t.Helper()
		return w.doAt("POST", path, token, body, append(header, "Mcp-Session-Id", session)...)
	}
	const create = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_issue","arguments":{"owner":"alice","repo":"hello","title":"made by a client"}}}`
	refused := func(what string, r response) {
		t.Helper()
		if text, isError := r.toolResult(); !isError || r.status != 200 || r.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %q (isError %v)", what, text, isError)
		}
	}
	other := func(what string, r response) {
		t.Helper()
		if r.status != http.StatusBadRequest || !strings.Contains(r.body, "another wish to read only") {
			t.Errorf("%s: %d %s, want 400", what, r.status, r.body)
		}
	}
	begin := func(path string, header ...string) string {
		t.Helper()
		r := at(path, "", initialize, header...)
		if r.status != 200 {
			t.Fatalf("%s: %d %s", path, r.status, r.body)
		}
		return r.header.Get("Mcp-Session-Id")
	}
	reads := []string{"X-MCP-Readonly", "true"}
	byAddress, byHeader, writes := begin("/mcp/readonly"), begin("/mcp", reads...), begin("/mcp/x/issues/")
	for range 2 {
		for _, id := range []string{byAddress, byHeader} {
			for _, path := range []string{"/mcp/readonly", "/mcp/x/issues/readonly", "/mcp/x/all/readonly/"} {
				refused(path, at(path, id, create))
			}
			refused("/mcp with the header", at("/mcp", id, create, reads...))
			w.wantText(at("/mcp/x/users/readonly", id, whoAmI), "alice")
			other("a call at /mcp", at("/mcp", id, create))
			other("a call with the header's contrary", at("/mcp", id, whoAmI, "X-MCP-Readonly", "false"))
			other("a notification", at("/mcp/x/issues", id, `{"jsonrpc":"2.0","method":"notifications/initialized"}`))
			other("a stream", w.doAt("GET", "/mcp", token, "", "Mcp-Session-Id", id))
			other("an end", w.doAt("DELETE", "/mcp", token, "", "Mcp-Session-Id", id))
		}
		other("a session that writes, at /readonly", at("/mcp/readonly", writes, whoAmI))
		other("a session that writes, with the header", at("/mcp", writes, whoAmI, reads...))
		w.wantText(at("/mcp", writes, whoAmI), "alice")
		w.broker.Stop(syscall.SIGKILL)
		w.must(w.broker.Restart(t.Context(), w.program()))
	}
	refused("stateless, by address", at("/mcp/readonly", "", create))
	refused("stateless, by header", at("/mcp/x/issues", "", create, reads...))
	if text, _ := at("/mcp", writes, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_repo_issues","arguments":{"owner":"alice","repo":"hello"}}}`).toolResult(); strings.Contains(text, "made by a client") || !strings.Contains(text, "First issue") {
		t.Errorf("the issues are %s", text)
	}
	w.wantText(at("/mcp", writes, create), "made by a client")
	w.wantText(at("/mcp", "", create), "made by a client")
	if r := w.doAt("DELETE", "/mcp/x/wiki/readonly", token, "", "Mcp-Session-Id", byAddress); r.status != http.StatusNoContent {
		t.Errorf("an end at an address for reading: %d %s", r.status, r.body)
	}
}

// Over HTTP+SSE the header has to come with the stream and with what is posted.
func TestReadOnlyStream(t *testing.T) {
	w := start(t, "standin")
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	create := strings.Replace(whoAmI, `"get_my_user_info","arguments":{}`, `"create_issue","arguments":{"owner":"alice","repo":"hello","title":"made by a client"}`, 1)
	for _, tt := range []struct{ stream, post, contrary string }{{"true", "true", ""}, {"", "false", "true"}, {"false", "", "true"}} {
		s := w.listen(token, "X-MCP-Readonly", tt.stream)
		post := func(value, message string) response {
			return w.doAt("POST", s.endpoint, token, message, "X-MCP-Readonly", value)
		}
		for _, message := range []string{initialize, whoAmI} { // before the session and in it
			if r := post(tt.contrary, message); r.status != http.StatusBadRequest || !strings.Contains(r.body, "another wish to read only") {
				t.Errorf("%+v: %d %s", tt, r.status, r.body)
			}
			if r := post(tt.post, message); r.status != http.StatusAccepted {
				t.Fatalf("%+v: %d %s", tt, r.status, r.body)
			}
			s.message(`"result"`)
		}
		if r := w.doAt("GET", "/sse", token, "", "Last-Event-ID", s.last, "X-MCP-Readonly", tt.contrary); r.status != http.StatusBadRequest {
			t.Errorf("%+v: the stream goes on with the contrary: %d", tt, r.status)
		}
		if r := post(tt.post, create); r.status != http.StatusAccepted {
			t.Fatalf("%+v: %d %s", tt, r.status, r.body)
		}
		if said := s.message(`"result"`); strings.Contains(said, `"isError":true`) != (tt.stream == "true") {
			t.Errorf("%+v: %s", tt, said)
		}
	}
}
