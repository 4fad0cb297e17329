package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// loginFor logs alice in for client, which asks for scope; on the consent page
// she chooses access. It returns the access token and the granted scope.
func (w *world) loginFor(client, scope, access string) (token, granted string) {
	w.t.Helper()
	b := loginclient.NewBrowser(w.transport, "alice", "alice-password")
	b.Choose = map[string]string{"access": access}
	r, err := b.Authorize(w.t.Context(), w.authorizeURL(client)+"&scope="+strings.ReplaceAll(scope, " ", "+"))
	w.must(err)
	tokens, err := w.redeem(w.t.Context(), w.broker.URL, codeForm(client, r.Code))
	w.must(err)
	if tokens.status != 200 {
		w.t.Fatalf("token: %d %s", tokens.status, tokens.body)
	}
	return tokens.field("access_token"), tokens.field("scope")
}

// begin begins a session and returns its id.
func (w *world) begin(token string) string {
	w.t.Helper()
	r := w.post(token, "", initialize)
	id := r.header.Get("Mcp-Session-Id")
	if r.status != 200 || id == "" {
		w.t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	return id
}

// tool calls a tool with a bare request.
func (w *world) tool(token, session, name string, args any) response {
	w.t.Helper()
	raw, err := json.Marshal(args)
	w.must(err)
	return w.post(token, session, fmt.Sprintf(`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":%q,"arguments":%s}}`, name, raw))
}

// toolResult is the one text of a result, and whether it is an error.
func (r response) toolResult() (text string, isError bool) {
	var v struct {
		Result struct {
			Content []struct{ Type, Text string }
			IsError bool
		}
	}
	if json.Unmarshal([]byte(r.body), &v) != nil || len(v.Result.Content) != 1 || r.status != 200 {
		return fmt.Sprintf("no result: %d %s", r.status, r.body), false
	}
	return v.Result.Content[0].Text, v.Result.IsError
}

func (w *world) wantReadOnly(r response) {
	w.t.Helper()
	text, isError := r.toolResult()
	if !isError || !strings.Contains(text, "read-only") || !strings.Contains(text, w.broker.URL+"/account") {
		w.t.Fatalf("got %q (isError %v), want a result that says read-only and where to change it", text, isError)
	}
}

func (w *world) wantText(r response, want string) {
	w.t.Helper()
	if text, isError := r.toolResult(); isError || !strings.Contains(text, want) {
		w.t.Fatalf("got %q (isError %v), want %q", text, isError, want)
	}
}

// waitInFlight waits until a session has a call in flight; answer would be its.
func (w *world) waitInFlight(answer <-chan response) {
	w.t.Helper()
	for !strings.Contains(w.sessions(), `"in_flight":1`) {
		select {
		case r := <-answer:
			w.t.Fatalf("the call was answered already: %d %s", r.status, r.body)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Tools of the stand-in that write, though the table says that they read.
const lyingList, lyingGet, lyingFetch = "list_repo_issues", "get_pull_request_by_index", "get_file_content"

var newIssue = map[string]any{"owner": "alice", "repo": "hello", "title": "made by a client"}

// What the user allowed holds whatever the tools do, over sleep and restart.
func TestReadOnlyByChoice(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=1s")
	client, err := w.register(t.Context())
	w.must(err)
	token, scope := w.loginFor(client, "forgejo:read forgejo:write", "read")
	if scope != "forgejo:read" {
		t.Fatalf("granted %q", scope)
	}
	id := w.begin(token)
	w.wantText(w.tool(token, id, "get_my_user_info", struct{}{}), `"login":"alice"`)
	w.wantReadOnly(w.tool(token, id, lyingList, newIssue))
	w.waitLog("FJMCP_TOOL=list_repo_issues FJMCP_OUTCOME=read_only", 1)

	w.waitLog("FJMCP_EVENT=session_reaped", 1)
	w.wantReadOnly(w.tool(token, id, lyingList, newIssue))
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		w.broker.Stop(signal)
		w.must(w.broker.Restart(t.Context(), w.program()))
		w.wantReadOnly(w.tool(token, id, lyingList, newIssue))
	}
	if text, _ := w.tool(token, id, "list_repo_issues", map[string]any{"owner": "alice", "repo": "hello"}).toolResult(); strings.Contains(text, "made by a client") || !strings.Contains(text, "First issue") {
		t.Errorf("the issues are %s", text)
	}
}

// Backends that hide why the forge refused, or take it for success, are seen
// through; calls that were not refused keep their answers.
func TestReadOnlyBehindAHidingBackend(t *testing.T) {
	w := start(t, "standin")
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "read")
	id := w.begin(token)
	merge := map[string]any{"owner": "alice", "repo": "hello", "index": 1}
	w.wantReadOnly(w.tool(token, id, lyingGet, merge))
	w.wantReadOnly(w.tool(token, id, lyingGet, map[string]any{"owner": "alice", "repo": "hello", "index": 1, "merge_when_checks_succeed": true}))
	var together sync.WaitGroup
	for range 5 {
		together.Go(func() { w.wantText(w.tool(token, id, "get_my_user_info", struct{}{}), "alice") })
		together.Go(func() { w.wantReadOnly(w.tool(token, id, lyingGet, merge)) })
		together.Go(func() { w.wantReadOnly(w.tool(token, id, lyingList, newIssue)) })
	}
	together.Wait()
}

// A client that asked for less is told to ask for more, and goes on in the same
// session when it has; with its old token the session is none of its business.
func TestStepUp(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=1s")
	client, err := w.register(t.Context())
	w.must(err)
	narrow, scope := w.loginFor(client, "openid forgejo:read", "write")
	if scope != "forgejo:read" {
		t.Fatalf("granted %q", scope)
	}
	id := w.begin(narrow)
	if r := w.tool(narrow, id, lyingList, newIssue); r.status != 403 {
		t.Errorf("a tool that lies got %d %s", r.status, r.body)
	}
	r := w.tool(narrow, id, "create_issue", newIssue)
	if h := r.header.Get("WWW-Authenticate"); r.status != 403 || !strings.HasPrefix(h, "Bearer ") ||
		!strings.Contains(h, `error="insufficient_scope"`) || !strings.Contains(h, `scope="forgejo:read forgejo:write"`) {
		t.Fatalf("got %d %s\n%s", r.status, h, r.body)
	}
	w.wantText(w.tool(narrow, id, "get_my_user_info", struct{}{}), "alice")

	broad, _ := w.loginFor(client, "forgejo:read forgejo:write", "write")
	// What the narrower token has begun does not end with more rights.
	late := make(chan response, 1)
	go func() {
		late <- w.tool(narrow, id, lyingList, map[string]any{"owner": "alice", "repo": "hello", "title": "too late", "delay_ms": 2000})
	}()
	w.waitInFlight(late)
	w.wantText(w.tool(broad, id, "create_issue", newIssue), "made by a client")
	if r := <-late; r.status != 403 {
		t.Errorf("a write of the narrower token got %d %s", r.status, r.body)
	}
	if !strings.Contains(w.sessions(), `"read_only":false`) || strings.Contains(w.log.String(), "unit anew") {
		t.Errorf("the running unit's mode was not raised: %s", w.sessions())
	}

	gone := func(when string) {
		for _, method := range []string{"POST", "DELETE"} {
			if r := w.do(method, narrow, id, `{"jsonrpc":"2.0","id":1,"method":"ping"}`); r.status != 404 || !strings.Contains(r.body, "Session not found") {
				t.Fatalf("%s, %s: the narrower token got %d %s", when, method, r.status, r.body)
			}
		}
		w.wantText(w.tool(broad, id, "create_issue", newIssue), "made by a client")
	}
	gone("raised")
	w.waitLog("FJMCP_EVENT=session_reaped", 1)
	gone("reaped")
	w.broker.Stop(syscall.SIGKILL)
	w.must(w.broker.Restart(t.Context(), w.program()))
	gone("after a restart")
	// A user who says no to more is not asked again and again.
	chosen, _ := w.loginFor(client, "forgejo:read forgejo:write", "read")
	w.wantReadOnly(w.tool(chosen, w.begin(chosen), "create_issue", newIssue))
}

// A client that steps down goes on in its sessions, which only read from its next request
// on; what it asks for after that in writing is refused until it logs in for more.
func TestStepDown(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=1s")
	client, tokens := w.login("alice")
	token := tokens.field("access_token")
	id := w.begin(token)
	w.wantText(w.tool(token, id, "create_issue", newIssue), "made by a client")
	refresh := func(token, scope string) response {
		form := refreshForm(client, token)
		form.Set("scope", scope)
		r, err := w.redeem(w.t.Context(), w.broker.URL, form)
		w.must(err)
		return r
	}
	down := refresh(tokens.field("refresh_token"), "forgejo:read")
	refuses := func(when string) {
		w.wantText(w.tool(down.field("access_token"), id, "get_my_user_info", struct{}{}), "alice")
		for _, token := range []string{down.field("access_token"), token} { // an older one as well
			if r := w.tool(token, id, "create_issue", newIssue); r.status != 403 || !strings.Contains(r.header.Get("WWW-Authenticate"), "insufficient_scope") {
				t.Errorf("%s: a write got %d %s", when, r.status, r.body)
			}
		}
		if !strings.Contains(w.sessions(), `"read_only":true`) {
			t.Errorf("%s: %s", when, w.sessions())
		}
	}
	refuses("running")
	if strings.Contains(w.log.String(), "unit anew") {
		t.Error("the running unit's mode was not changed in place")
	}
	w.waitLog("FJMCP_EVENT=session_reaped", 1)
	refuses("awake again")
	w.broker.Stop(syscall.SIGKILL)
	w.must(w.broker.Restart(t.Context(), w.program()))
	refuses("after a restart")
	if r := w.tool(down.field("access_token"), "", "create_issue", newIssue); r.status != 403 {
		t.Errorf("without a session a write got %d %s", r.status, r.body)
	}
	if again := refresh(down.field("refresh_token"), "forgejo:write"); again.status != 400 || !strings.Contains(again.body, "invalid_scope") {
		t.Errorf("a refresh for more got %d %s", again.status, again.body)
	}
	broad, _ := w.loginFor(client, "", "write")
	w.wantText(w.tool(broad, id, "create_issue", newIssue), "made by a client")
}

// A session whose calls do not end is raised in a new unit.
func TestStepUpPastACallThatStays(t *testing.T) {
	w := start(t, "standin")
	client, err := w.register(t.Context())
	w.must(err)
	narrow, _ := w.loginFor(client, "forgejo:read", "read")
	broad, _ := w.loginFor(client, "", "write")
	id := w.begin(narrow)
	slow := make(chan response, 1)
	go func() {
		slow <- w.tool(narrow, id, "list_repo_issues", map[string]any{"owner": "alice", "repo": "hello", "delay_ms": 60_000})
	}()
	w.waitInFlight(slow)
	w.wantText(w.tool(broad, id, "create_issue", newIssue), "made by a client")
	if r := <-slow; !strings.Contains(r.body, "the session ended while the call ran") {
		t.Errorf("the call got %d %s", r.status, r.body)
	}
}

// Paths that create lasting credentials are closed to every session.
func TestDeniedPaths(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_FORGEJO_ROUTES=close:/users/search")
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "write")
	id := w.begin(token)
	for _, path := range []string{"/user/keys", "/user/applications/oauth2", "/users/alice/tokens", "/user/%67pg_keys", "/users/search"} {
		for _, method := range []string{"GET", "POST"} {
			text, isError := w.tool(token, id, "fetch_url", map[string]any{"url": w.forge.URL + "/api/v1" + path, "method": method}).toolResult()
			if !isError || !strings.Contains(text, "keys, tokens, webhooks and administration") || !strings.Contains(text, w.broker.URL+"/account") {
				t.Errorf("%s %s: got %q", method, path, text)
			}
		}
	}
	w.waitLog("FJMCP_TOOL=fetch_url FJMCP_OUTCOME=denied_path", 10)
	w.wantText(w.tool(token, id, "create_issue", newIssue), "made by a client")
}

// An answer that holds the user's token is the worst that the audit knows of.
func TestLeakedTokenIsAudited(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_FORGEJO_ROUTES=open:lfs")
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "write")
	text, isError := w.tool(token, w.begin(token), "fetch_url", map[string]any{"url": w.forge.URL + "/alice/hello.git/info/lfs/objects/batch", "method": "POST"}).toolResult()
	if !isError || !strings.Contains(text, "held the access token of this connection") {
		t.Errorf("got %q", text)
	}
	w.waitLog("level=ERROR msg=audit FJMCP_EVENT=token_leaked FJMCP_USER=alice", 1)
	w.waitLog("FJMCP_TOOL=fetch_url FJMCP_OUTCOME=token_leaked", 1)
}

// The real backend, whose errors are JSON-RPC errors, and which hides the forge's
// answer from some tools.
func TestRealForgejoMCPReadOnly(t *testing.T) {
	binary := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if binary == "" {
		t.Skip("SKIP: FJMCP_TEST_FORGEJO_MCP does not name a forgejo-mcp binary")
	}
	w := start(t, binary)
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "read")
	id := w.begin(token)
	repo := func(more ...any) map[string]any {
		args := map[string]any{"owner": "alice", "repo": "hello"}
		for i := 0; i < len(more); i += 2 {
			args[more[i].(string)] = more[i+1]
		}
		return args
	}
	w.wantText(w.tool(token, id, "get_my_user_info", struct{}{}), "alice")
	for _, call := range []struct {
		tool string
		args map[string]any
	}{
		{"create_issue", repo("title", "t", "body", "b")},
		{"create_issue_comment", repo("index", 1, "body", "b")},
		{"create_repo", map[string]any{"name": "new"}},
		{"delete_branch", repo("branch", "main")},
		{"delete_file", repo("filePath", "README.md", "message", "m", "branch_name", "main", "sha", strings.Repeat("0", 40))},
		{"merge_pull_request", repo("index", 1, "style", "merge")},
		{"merge_pull_request", repo("index", 1, "style", "merge", "merge_when_checks_succeed", true)},
		{"create_issue_attachment", repo("index", 1, "content", "aGVsbG8=", "filename", "x.txt", "mime_type", "text/plain")},
	} {
		r := w.tool(token, id, call.tool, call.args)
		if text, isError := r.toolResult(); !isError || !strings.Contains(text, "read-only") {
			t.Errorf("%s: %d %s", call.tool, r.status, r.body)
		}
	}
	text, isError := w.tool(token, id, "get_file_content", repo("ref", "main", "filePath", "../../../../user/keys")).toolResult()
	if !isError || !strings.Contains(text, "such as a backslash or two dots") {
		t.Errorf("a path trick got %q", text)
	}
}
