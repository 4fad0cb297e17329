package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// names are those of what a list in a response has, in order.
func (r response) names(t *testing.T, member, name string) (all []string) {
	t.Helper()
	var m struct{ Result map[string]json.RawMessage }
	var items []map[string]any
	if err := json.Unmarshal([]byte(r.body), &m); err != nil || json.Unmarshal(m.Result[member], &items) != nil {
		t.Fatalf("no list of %s: %d %s", member, r.status, r.body)
	}
	for _, item := range items {
		all = append(all, fmt.Sprint(item[name]))
	}
	slices.Sort(all)
	return all
}

// code is that of a JSON-RPC error.
func (r response) code() (code int, message string) {
	var m struct {
		Error struct {
			Code    int
			Message string
		}
	}
	_ = json.Unmarshal([]byte(r.body), &m)
	return m.Error.Code, m.Error.Message
}

func list(method string) string { return `{"jsonrpc":"2.0","id":"l","method":"` + method + `"}` }

func ask(method, params string) string {
	return `{"jsonrpc":"2.0","id":"x","method":"` + method + `","params":` + params + `}`
}

// wantHints holds the tools of a list against the table.
func wantHints(t *testing.T, r response) (known int) {
	t.Helper()
	var m struct {
		Result struct {
			Tools []struct {
				Name, Title string
				Annotations map[string]bool
			}
		}
	}
	if err := json.Unmarshal([]byte(r.body), &m); err != nil {
		t.Fatal(err)
	}
	for _, got := range m.Result.Tools {
		want, ok := forgeapi.ToolNamed(got.Name)
		if !ok {
			continue
		}
		known++
		hints := fmt.Sprint(map[string]bool{"readOnlyHint": want.Reads(), "destructiveHint": want.Effect == forgeapi.EffectDestroys, "idempotentHint": want.Idempotent, "openWorldHint": false})
		if fmt.Sprint(got.Annotations) != hints || got.Title != want.Title {
			t.Errorf("%s is listed as %q %v, want %q %s", got.Name, got.Title, got.Annotations, want.Title, hints)
		}
	}
	return known
}

// What a connection may not do it does not see, and what it does not see reaches nobody:
// in a session, without one, in a batch, and on an event stream.
func TestWhatIsHidden(t *testing.T) {
	w := start(t, "standin")
	client, err := w.register(t.Context())
	w.must(err)
	reader, _ := w.loginFor(client, "forgejo:read forgejo:write", "read")
	id := w.begin(reader)
	tools := w.post(reader, id, list("tools/list"))
	want := "get_file_content get_forgejo_mcp_server_version get_my_user_info get_pull_request_by_index list_my_repos list_repo_issues"
	if got := strings.Join(tools.names(t, "tools", "name"), " "); got != want {
		t.Errorf("a connection for reading sees %s", got)
	}
	wantHints(t, tools)
	if got := w.post(reader, id, list("resources/templates/list")).names(t, "resourceTemplates", "uriTemplate"); len(got) != 2 {
		t.Errorf("a connection for reading sees the templates %q", got)
	}
	for _, name := range []string{"create_issue", "slow", "heard"} { // the last two are in no table
		w.wantReadOnly(w.tool(reader, id, name, newIssue))
		w.wantReadOnly(w.tool(reader, "", name, newIssue))
	}
	w.waitLog("FJMCP_TOOL=create_issue FJMCP_OUTCOME=read_only", 2)

	writer, _ := w.loginFor(client, "", "write")
	id = w.begin(writer)
	all := w.post(writer, id, list("tools/list"))
	if n := len(all.names(t, "tools", "name")); n < 15 || wantHints(t, all) != 8 {
		t.Errorf("a connection for all sees %d tools: %s", n, all.body)
	}
	issues := w.doAt("POST", "/mcp/x/issues", writer, list("tools/list"), "Mcp-Session-Id", id)
	if got := strings.Join(issues.names(t, "tools", "name"), " "); got != "create_issue list_repo_issues" {
		t.Errorf("/mcp/x/issues has %s", got)
	}
	const here, there = "forgejo://repo/alice/hello/issues", "forgejo://repo/alice/hello"
	for _, body := range []string{
		ask("tools/call", `{"name":"list_my_repos","arguments":{}}`),
		ask("tools/call", `{"name":"slow","arguments":{"ms":1}}`),
	} {
		for _, session := range []string{id, ""} {
			r := w.doAt("POST", "/mcp/x/issues", writer, body, "Mcp-Session-Id", session)
			if text, isError := r.toolResult(); !isError || !strings.Contains(text, "asks for the toolsets issues alone") || !strings.Contains(text, w.url+"/mcp for all") {
				t.Errorf("%s: %s", body, r.body)
			}
		}
	}
	w.waitLog("FJMCP_TOOL=list_my_repos FJMCP_OUTCOME=hidden", 2)
	for body, want := range map[string]int{
		ask("resources/read", `{"uri":"`+there+`"}`):                                                                                           -32002,
		ask("resources/read", `{"uri":"`+here+`","URI":"`+there+`"}`):                                                                          -32002,
		ask("resources/subscribe", `{"uri":"`+there+`"}`):                                                                                      -32002,
		ask("prompts/get", `{"name":"triage"}`):                                                                                                -32602,
		ask("completion/complete", `{"ref":{"type":"ref/prompt","name":"triage"},"argument":{"name":"a","value":""}}`):                         -32602,
		ask("completion/complete", `{"ref":{"type":"ref/resource","uri":"forgejo://repo/{owner}/{repo}"},"argument":{"name":"a","value":""}}`): -32602,
	} {
		r := w.doAt("POST", "/mcp/x/issues", writer, body, "Mcp-Session-Id", id)
		if code, message := r.code(); r.status != 200 || code != want || !strings.Contains(message, "asks for the toolsets issues alone") {
			t.Errorf("%s: %d %s, want %d", body, r.status, r.body, want)
		}
	}
	batch := w.doAt("POST", "/mcp/x/issues", writer, "["+ask("tools/call", `{"name":"list_my_repos"}`)+"]", "Mcp-Session-Id", w.beginAs(writer, "2025-03-26"))
	if !strings.Contains(batch.body, "asks for the toolsets issues alone") {
		t.Errorf("a batch got %d %s", batch.status, batch.body)
	}
	if r := w.doAt("POST", "/mcp/x/issues", writer, ask("resources/read", `{"uri":"`+here+`"}`), "Mcp-Session-Id", id); !strings.Contains(r.body, "First issue") {
		t.Errorf("what is seen cannot be read: %s", r.body)
	}
	complete := ask("completion/complete", `{"ref":{"type":"ref/resource","uri":"forgejo://repo/{owner}/{repo}/issues{?state,labels,page,limit}"},"argument":{"name":"owner","value":""}}`)
	if r := w.doAt("POST", "/mcp/x/issues", writer, complete, "Mcp-Session-Id", id); !strings.Contains(r.body, `"bob"`) {
		t.Errorf("what is seen cannot be completed: %s", r.body)
	}
	for method, member := range map[string]string{"prompts/list": "prompts", "resources/templates/list": "resourceTemplates"} {
		few := len(w.doAt("POST", "/mcp/x/issues", writer, list(method), "Mcp-Session-Id", id).names(t, member, "name"))
		many := len(w.post(writer, id, list(method)).names(t, member, "name"))
		if few != many-1 {
			t.Errorf("%s: %d of %d are seen", method, few, many)
		}
	}
	for _, session := range []string{id, ""} {
		heard, _ := w.tool(writer, session, "heard", struct{}{}).toolResult()
		if !strings.Contains(heard, "tools/call") || session != "" && !strings.Contains(heard, here) {
			t.Errorf("the backend says that it heard %s", heard)
		}
		for _, hidden := range []string{"list_my_repos", `"slow"`, `"` + there + `"`, "triage", `forgejo://repo/{owner}/{repo}"`} {
			if strings.Contains(heard, hidden) {
				t.Errorf("the backend heard of %s:\n%s", hidden, heard)
			}
		}
	}
}

// beginAs begins a session of a revision.
func (w *world) beginAs(token, revision string) string {
	w.t.Helper()
	r := w.post(token, "", strings.Replace(initialize, `"protocolVersion":"2025-06-18"`, `"protocolVersion":"`+revision+`"`, 1))
	if r.status != 200 || !strings.Contains(r.body, revision) || !strings.Contains(r.body, `"listChanged":true`) {
		w.t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	return r.header.Get("Mcp-Session-Id")
}

// The real backend's list: the tools that read, each with its title and its hints.
func TestRealForgejoMCPLists(t *testing.T) {
	binary := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if binary == "" {
		t.Skip("SKIP: FJMCP_TEST_FORGEJO_MCP does not name a forgejo-mcp binary")
	}
	w := start(t, binary)
	client, err := w.register(t.Context())
	w.must(err)
	count := func(token, path string, what func(forgeapi.Tool) bool) {
		t.Helper()
		r := w.doAt("POST", path, token, list("tools/list"))
		want := 0
		for _, one := range forgeapi.AllTools() {
			if !one.IsTemplate() && what(one) {
				want++
			}
		}
		if n := len(r.names(t, "tools", "name")); n != want || wantHints(t, r) != n {
			t.Errorf("%s lists %d tools, want %d of the table", path, n, want)
		}
	}
	token, _ := w.loginFor(client, "", "read")
	count(token, "/mcp", forgeapi.Tool.Reads)
	token, _ = w.loginFor(client, "", "write")
	count(token, "/mcp", func(forgeapi.Tool) bool { return true })
	count(token, "/mcp/x/issues/readonly", func(t forgeapi.Tool) bool { return t.Reads() && t.Toolset == "issues" })
}
