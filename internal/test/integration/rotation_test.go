package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// begun begins a session and returns its id.
func (w *world) begun(token string) string {
	w.t.Helper()
	r := w.post(token, "", initialize)
	if r.status != 200 || r.header.Get("Mcp-Session-Id") == "" {
		w.t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	return r.header.Get("Mcp-Session-Id")
}

// A token that ends while calls of several sessions are at the forge: one refresh
// gives all of them the next, and nobody notices.
func TestRotationReachesEverySession(t *testing.T) {
	const sessions, each = 3, 2
	w := start(t, "standin")
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	var ids []string
	for range sessions {
		ids = append(ids, w.begun(token))
	}
	for round := range 3 {
		refreshes := w.forge.Stats().Refreshes
		w.must(w.forge.Inject(fakeforge.Fault{Path: fakeforge.APIPath + "user", Kind: "hold"}))
		var calls sync.WaitGroup
		answers := make([]response, sessions*each)
		for i := range answers {
			calls.Go(func() {
				answers[i], _ = w.fetch(t.Context(), "POST", w.url+"/mcp", strings.NewReader(whoAmI), "Authorization", "Bearer "+token,
					"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Mcp-Session-Id", ids[i%sessions])
			})
		}
		w.until("all calls are at the forge", func() bool { return w.forge.Waiting() == len(answers) })
		w.forge.ExpireAccessTokens()
		w.forge.ClearFaults()
		calls.Wait()
		for i, r := range answers {
			if r.status != 200 || !strings.Contains(r.body, `\"login\":\"alice\"`) {
				t.Errorf("round %d, call %d: %d %s", round, i, r.status, r.body)
			}
		}
		if n := w.forge.Stats().Refreshes - refreshes; n != 1 {
			t.Errorf("round %d took %d refreshes", round, n)
		}
	}
	if n := strings.Count(w.log.String(), "FJMCP_EVENT=session_started"); n != sessions {
		t.Errorf("%d units were started for %d sessions", n, sessions)
	}
}

// A request that the forge refuses for its token is sent again once if it can be
// kept meanwhile; a larger one is not, and its user is told, and may do it again.
func TestRotationSendsBodiesAgain(t *testing.T) {
	w := start(t, "standin")
	_, tokens := w.login("alice")
	token := tokens.field("access_token")
	id := w.begun(token)
	create := func(title string, bytes int) response {
		return w.post(token, id, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_issue","arguments":{"owner":"alice","repo":"hello","title":%q,"body":%q}}}`,
			title, strings.Repeat("x", bytes)))
	}
	const limit = 1 << 20
	for _, c := range []struct {
		title string
		bytes int
		again bool
	}{{"small", 10, true}, {"as large as may be", limit - 100, true}, {"too large", limit + 1, false}} {
		w.forge.ExpireAccessTokens()
		r := create(c.title, c.bytes)
		if worked := r.status == 200 && !strings.Contains(r.body, `"isError":true`); worked != c.again {
			t.Errorf("%s: %d %.300s", c.title, r.status, r.body)
		}
		if !c.again && !strings.Contains(r.body, "too large to be sent again by itself") {
			t.Errorf("%s: %d %.300s", c.title, r.status, r.body)
		}
		if r := create(c.title+", once more", c.bytes); r.status != 200 || strings.Contains(r.body, `"isError":true`) {
			t.Errorf("%s, once more: %d %.300s", c.title, r.status, r.body)
		}
	}
	list := w.post(token, id, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_repo_issues","arguments":{"owner":"alice","repo":"hello"}}}`).body
	for title, want := range map[string]int{"small": 1, "as large as may be": 1, "too large": 0, "small, once more": 1, "too large, once more": 1} {
		if n := strings.Count(list, `\"title\":\"`+title+`\"`); n != want {
			t.Errorf("%d issues are called %q, want %d", n, title, want)
		}
	}
}
