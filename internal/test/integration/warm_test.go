package integration

import (
	"cmp"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// status is what `fjmcpctl status --json` says.
func (w *world) status() (s admin.Status) {
	w.t.Helper()
	said := w.ctl("status", "--json")
	if err := json.Unmarshal([]byte(said.out), &s); err != nil {
		w.t.Fatalf("%v: %+v", err, said)
	}
	return s
}

// A login's first session is that of the unit that was started with it, and says what
// any other session's backend says. The real backend is used where there is one.
func TestSessionAfterLogin(t *testing.T) {
	w := start(t, cmp.Or(os.Getenv("FJMCP_TEST_FORGEJO_MCP"), "standin"))
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	if s := w.status().Sessions; s.Warm != 1 || s.Running != 0 || len(w.list()) != 0 {
		t.Errorf("%+v, listed %v", s, w.list())
	}
	const initialize = `{"jsonrpc":"2.0","id":"a\u0062","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	first, second := w.post(token, "", initialize), w.post(token, "", initialize)
	if first.status != 200 || first.body != second.body || !strings.Contains(first.body, `"id":"a\u0062"`) {
		t.Errorf("the first says %d %s\nthe second %d %s", first.status, first.body, second.status, second.body)
	}
	all := w.list()
	if len(all) != 2 || w.status().Sessions.Warm != 0 {
		t.Fatalf("listed %+v, %+v", all, w.status().Sessions)
	}
	for _, s := range all {
		if n := strings.Count(w.log.String(), "FJMCP_UNIT="+s.Unit); s.Unit == "" || n != 1 {
			t.Errorf("%d starts of session %s in %q", n, s.ID, s.Unit)
		}
	}
	for _, r := range []response{first, second} {
		id := r.header.Get("Mcp-Session-Id")
		if r := w.post(token, id, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"get_my_user_info","arguments":{}}}`); !strings.Contains(r.body, "alice") {
			t.Errorf("its call: %d %s", r.status, r.body)
		}
	}
}

// The same for a request that names no session.
func TestSharedSessionAfterLogin(t *testing.T) {
	w := start(t, "everything")
	_, tokens := w.login("alice")
	if r := w.modern(tokens.field("access_token"), modern{id: "1", method: "tools/list"}); r.status != 200 || !strings.Contains(r.body, "test_simple_text") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if s := w.status().Sessions; s.Warm != 0 || s.Running != 1 {
		t.Errorf("%+v", s)
	}
}

// What waits ends with its login, and a drain starts nothing.
func TestNobodyComesAfterLogin(t *testing.T) {
	w := start(t, "standin")
	client, tokens := w.login("alice")
	w.login("alice") // with another client
	if s := w.status().Sessions; s.Warm != 2 {
		t.Errorf("%+v", s)
	}
	form := url.Values{"client_id": {client}, "token": {tokens.field("refresh_token")}}
	r, err := w.fetch(t.Context(), "POST", w.url+"/oauth/revoke", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	if err != nil || r.status != 200 {
		t.Fatalf("revocation: %d %v", r.status, err)
	}
	if s := w.status().Sessions; s.Warm != 1 {
		t.Errorf("after the revocation: %+v", s)
	}
	w.ctl("drain")
	w.login("bob")
	if s := w.status().Sessions; s.Warm != 1 {
		t.Errorf("while drained: %+v", s)
	}
}
