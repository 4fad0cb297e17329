package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// recordingForge notes every request and answers what the tools of forgejo-mcp can use.
type recordingForge struct {
	mu   sync.Mutex
	seen []string
}

var lists = regexp.MustCompile(`/(repos|orgs|labels|members|teams|issues|issues/search|comments|reviews|files|releases|assets|hooks|branches|branch_protections|milestones|notifications|pulls|commits|statuses|times|stopwatches|blocks|dependencies|wiki/pages|contents/dir)$`)

// ServeHTTP answers with one object that has the fields of all kinds, or a list of it.
func (f *recordingForge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.record(r)
	asset := fmt.Sprintf("http://%s/attachments/11111111-2222-3333-4444-555555555555", r.Host)
	thing := map[string]any{
		"id": 1, "number": 1, "index": 1, "name": "main", "title": "x", "login": "alice", "username": "acme", "version": "15.0.3+gitea-1.22.0", "browser_download_url": asset,
		"content": "eA==", "encoding": "base64", "content_base64": "eA==", "size": 1, "sha": strings.Repeat("0", 40), "type": "file", "path": "a", "max_response_items": 50,
		"labels": []any{map[string]any{"id": 1, "name": "one"}}, "default_branch": "main", "full_name": "alice/hello", "visibility": "public",
		"config": map[string]string{"url": "https://example.org"}, "user": map[string]any{"login": "alice"},
	}
	var answer any = thing
	switch path := r.URL.Path; {
	case r.Method == http.MethodDelete, strings.HasSuffix(path, "/tests"), strings.HasSuffix(path, "/dispatches"):
		w.WriteHeader(http.StatusNoContent)
		return
	case path == "/api/v1/users/acme": // an organization
		http.Error(w, `{"message":"user does not exist"}`, http.StatusNotFound)
		return
	case strings.HasSuffix(path, "/logs"):
		http.ServeContent(w, r, "job.log", time.Time{}, strings.NewReader(strings.Repeat("a line of a log\n", 10_000)))
		return
	case strings.HasPrefix(path, "/attachments/"), strings.Contains(path, "/raw/"), strings.HasSuffix(path, ".diff"):
		io.WriteString(w, "contents")
		return
	case strings.HasSuffix(path, "/search") && !strings.HasSuffix(path, "issues/search"):
		answer = map[string]any{"ok": true, "data": []any{thing}}
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/labels") && strings.Contains(path, "/issues/"):
		answer = []any{thing}
	case r.Method == http.MethodGet && lists.MatchString(path):
		answer = []any{thing}
		if page := r.URL.Query().Get("page"); page != "" && page != "1" {
			answer = []any{} // some tools read to the end
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Total-Count", "1")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
	}
	json.NewEncoder(w).Encode(answer)
}

// record notes what the request asks for. A form is what it says, whatever its boundary.
func (f *recordingForge) record(r *http.Request) {
	kind := r.Header.Get("Content-Type")
	body, _ := io.ReadAll(r.Body)
	if strings.HasPrefix(kind, "multipart/") {
		kind = "form"
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err := r.ParseMultipartForm(1 << 20); err != nil {
			kind = err.Error()
		}
		body = fmt.Appendf(nil, "%q", r.MultipartForm.Value)
		for name, files := range r.MultipartForm.File {
			part, _ := files[0].Open()
			contents, _ := io.ReadAll(part)
			body = fmt.Appendf(body, " %s=%q %q %q", name, files[0].Filename, files[0].Header.Get("Content-Type"), contents)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path != "/api/v1/version" {
		f.seen = append(f.seen, fmt.Sprintf("%s %s %s accept=%s %s", r.Method, r.RequestURI, kind, r.Header.Get("Accept"), body))
	}
}

func (f *recordingForge) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}

// done is what came of one call or read.
type done struct {
	requests []string
	answer   string // its text or error
}

// argument gives a parameter of a tool a value that it takes.
func argument(tool, name, kind string) any {
	switch {
	case name == "depends_on_index", name == "dependency_index":
		return 2
	case kind == "number":
		return 1
	case kind == "boolean":
		return true
	}
	values := map[string]string{
		"owner": "alice", "repo": "hello", "org": "acme", "organization": "acme", "user": "bob", "labels": "1", "milestone": "1", "milestones": "1", "branch": "feature/x", "branch_name": "feature/x", "rule": "release/*",
		"filePath": "docs/a b%.txt", "path": "dir", "ref": "main", "old_branch": "main", "sha": strings.Repeat("a", 40), "color": "#ff0000", "duration": "1h", "content": "Y29udGVudHM=", "filename": `a "b".txt`,
		"mime_type": "text/plain", "url": "https://example.org/hook", "events": "push", "reviewers": "bob", "team_reviewers": "", "permission": "write", "visibility": "public", "style": "merge", "workflow": "ci.yml",
		"tag": "v1/x", "tag_name": "v1", "page_name": "Guides/Setup x", "inputs": "{}", "comments": "[]", "event": "push", "status": "success", "type": "issues", "sort": "", "order": "", "head_sha": "", "http_method": "post", "content_type": "json",
		"delete_mode": "force",
	}
	v, ok := values[name]
	switch {
	case strings.HasSuffix(name, "_at"), name == "since", name == "before", name == "due_date":
		return "2026-01-02T03:04:05Z"
	case name == "state":
		return map[string]string{"issue_state_change": "closed", "create_pull_review": "COMMENT", "submit_pull_review": "COMMENT"}[tool] + map[bool]string{true: "open"}[!strings.Contains(tool, "review") && tool != "issue_state_change"]
	case name == "name" && slices.Contains([]string{"create_org", "create_repo", "fork_repo"}, tool):
		return "new"
	case tool == "list_repo_pull_requests" && name == "milestone", name == "type" && tool == "create_repo_hook":
		return map[string]string{"milestone": "1", "type": "forgejo"}[name]
	case ok:
		return v
	}
	return "some " + name
}

// everyTool lists the tools of a backend.
func everyTool(t *testing.T, s *mcp.ClientSession) []*mcp.Tool {
	t.Helper()
	list, err := s.ListTools(t.Context(), nil)
	if err != nil || len(list.Tools) < 100 {
		t.Fatalf("got %d tools, %v", len(list.Tools), err)
	}
	return list.Tools
}

// runTools calls every tool twice, with what it must have and with all it may have, and
// reads a resource of each template of the table; those of which is true.
func runTools(t *testing.T, s *mcp.ClientSession, tools []*mcp.Tool, forge *recordingForge, token string, which func(name string) bool) map[string]done {
	t.Helper()
	all := map[string]done{}
	note := func(name string, result any, err error) {
		text, _ := json.Marshal(result)
		if err != nil {
			text = []byte(err.Error())
		}
		answer := regexp.MustCompile(`(127\.0\.0\.1|forgejo\.localhost):\d+|fjmcp [A-Z2-7]{26}`).ReplaceAllString(string(text), "…")
		all[name] = done{forge.take(), strings.ReplaceAll(answer, token, "…")}
	}
	for _, tool := range tools {
		if !which(tool.Name) {
			continue
		}
		for _, variant := range []string{"least", "most"} {
			result, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool.Name, Arguments: argumentsOf(t, tool, variant == "most")})
			note(tool.Name+" "+variant, result, err)
		}
	}
	for _, tool := range forgeapi.AllTools() {
		if tool.IsTemplate() && which(tool.Name) {
			result, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: expand(tool.Name)})
			note(tool.Name, result, err)
		}
	}
	return all
}

// argumentsOf are what the tool must have, or all that it may have.
func argumentsOf(t *testing.T, tool *mcp.Tool, most bool) map[string]any {
	t.Helper()
	var schema struct {
		Properties map[string]struct{ Type string }
		Required   []string
	}
	text, _ := json.Marshal(tool.InputSchema)
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	arguments := map[string]any{}
	for name, p := range schema.Properties {
		// forgejo-mcp reads no file of the host, so that an upload needs its content.
		if slices.Contains(schema.Required, name) || most && name != "file_path" && name != "seconds" || name == "content" || name == "filename" {
			arguments[name] = argument(tool.Name, name, p.Type)
		}
	}
	return arguments
}

// all is every tool.
func all(string) bool { return true }

// expand makes a URI of the template.
func expand(template string) string {
	template, _, _ = strings.Cut(template, "{?")
	return strings.NewReplacer("//owner/{owner}", "//owner/acme", "{owner}", "alice", "{repo}", "hello", "{org}", "acme", "{index}", "1", "{id}", "1", "{kind}", "issue", "{rule}", "release%2F1",
		"{pageName}", "Guides%2FSetup", "{sha}", strings.Repeat("a", 40)).Replace(template)
}

// realTools starts the real forgejo-mcp without a session, or skips the test.
func realTools(t *testing.T, url, token string) *mcp.ClientSession {
	t.Helper()
	backend := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if backend == "" {
		t.Skip("SKIP: set FJMCP_TEST_FORGEJO_MCP to a forgejo-mcp binary to run this")
	}
	plain := exec.Command(backend, "--transport", "stdio", "--url", strings.Replace(url, "forgejo.localhost", "127.0.0.1", 1), "--token", token, "--user-agent", "fjmcp")
	plain.Env = []string{"GOMAXPROCS=1"}
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &mcp.CommandTransport{Command: plain}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Every tool of the real forgejo-mcp does through the proxy what it does without; those
// that closed routes take away do nothing until the operator opens them.
func TestRealToolsThroughTheProxy(t *testing.T) {
	forge := &recordingForge{}
	url := serveHTTP(t, forge)
	const token = "0123456789abcdef0123456789abcdef01234567"

	s := realTools(t, url, token)
	want := runTools(t, s, everyTool(t, s), forge, token, all)
	s.Close()
	coversTable(t, want)

	through := func(routes string) map[string]done {
		r := start(t, token, append(environment(url, os.Getenv("FJMCP_TEST_FORGEJO_MCP")), "FJMCP_SESSION_ROUTES="+routes)...)
		r.want(control.TypeReady)
		r.mode(control.ModeReadWrite)
		go func() {
			for {
				m, err := r.control.Receive(t.Context())
				if err != nil {
					return
				}
				if m.Type == control.TypeRefused {
					r.control.Send(t.Context(), control.Message{Type: control.TypeAck, ID: m.ID})
				}
			}
		}()
		s := r.connect()
		defer s.Close()
		return runTools(t, s, everyTool(t, s), forge, token, all)
	}
	opened := through("open:everything")
	for name, w := range want {
		if got := opened[name]; fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("%s: through the proxy, with everything opened, got\n%q, want\n%q", name, got, w)
		}
	}
	taken := closedTools()
	closed := through("")
	for name, w := range want {
		got := closed[name]
		if tool, _, _ := strings.Cut(name, " "); taken[tool] {
			if len(got.requests) >= len(w.requests) || !strings.Contains(got.answer, "403") && !strings.Contains(got.answer, "closed to MCP clients") {
				t.Errorf("%s is not refused: %q", name, got)
			}
		} else if fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("%s: through the proxy got\n%q, want\n%q", name, got, w)
		}
	}
}

func closedTools() map[string]bool {
	taken := map[string]bool{}
	for _, r := range forgeapi.Routes() {
		for _, tool := range r.Tools {
			if !r.Open {
				taken[tool] = true
			}
		}
	}
	return taken
}

// coversTable holds what the tools did against the table: each route that it names for a
// tool was asked for, and no other.
func coversTable(t *testing.T, all map[string]done) {
	t.Helper()
	listed, asked := map[string]bool{}, map[string]bool{}
	var patterns []forgeapi.Route
	for _, r := range forgeapi.Routes() {
		patterns = append(patterns, r)
		for _, tool := range r.Tools {
			listed[tool+" "+r.Method+" "+r.Path] = true
		}
	}
	parameter := regexp.MustCompile(`\\\{[^/]*\\\}`)
	for name, d := range all {
		tool, _, _ := strings.Cut(name, " ")
		for _, request := range d.requests {
			f := strings.Fields(request)
			path, _, _ := strings.Cut(f[1], "?")
			known := false
			for _, r := range patterns {
				expr := parameter.ReplaceAllStringFunc(regexp.QuoteMeta(r.Path), func(p string) string {
					if strings.HasSuffix(p, `\.\.\.\}`) {
						return ".+"
					}
					return "[^/]+"
				})
				if r.Method == f[0] && regexp.MustCompile("^"+expr+"/?$").MatchString(path) && slices.Contains(r.Tools, tool) {
					known = true
					asked[tool+" "+r.Method+" "+r.Path] = true
				}
			}
			if !known {
				t.Errorf("%s sent %s, which the table does not name for it", name, request)
			}
		}
	}
	for key := range listed {
		if !asked[key] {
			t.Errorf("%s was not sent", key)
		}
	}
}
