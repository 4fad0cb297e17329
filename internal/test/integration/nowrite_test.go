package integration

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder notes what reaches a forge with a user's token.
type recorder struct {
	forge http.Handler
	mu    sync.Mutex
	seen  []string
}

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/login/oauth/") {
		rec.mu.Lock()
		rec.seen = append(rec.seen, r.Method+" "+r.RequestURI)
		rec.mu.Unlock()
	}
	rec.forge.ServeHTTP(w, r)
}

// take returns what has come since, and how much of it is no reading.
func (rec *recorder) take() (reads int, writes []string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, line := range rec.seen {
		if strings.HasPrefix(line, "GET ") || strings.HasPrefix(line, "HEAD ") {
			reads++
		} else {
			writes = append(writes, line)
		}
	}
	rec.seen = nil
	return reads, writes
}

// startRecorded is start with a forge on a unix socket, which notes what comes.
func startRecorded(t *testing.T, backend string) (*world, *recorder) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "forgejo.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, backend, "FJMCP_BROKER_FORGEJO_SOCKET="+socket)
	rec := &recorder{forge: w.forge}
	s := &http.Server{Handler: rec}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return w, rec
}

// tool is what tools/list says of one.
type tool struct {
	Name        string
	InputSchema struct {
		Properties map[string]struct{ Type any }
	}
}

func (w *world) tools(token, session string) []tool {
	w.t.Helper()
	r := w.post(token, session, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	var list struct{ Result struct{ Tools []tool } }
	w.must(json.Unmarshal([]byte(r.body), &list))
	return list.Result.Tools
}

// arguments gives every parameter a value that is likely to be taken.
func (tl tool) arguments() map[string]any {
	known := map[string]any{
		"owner": "alice", "repo": "hello", "org": "alice", "title": "t", "name": "new", "style": "merge", "state": "open", "content": "aGVsbG8=",
		"sha": strings.Repeat("0", 40), "filePath": "README.md", "branch_name": "main", "ref": "main", "mime_type": "text/plain", "body": "b",
	}
	args := map[string]any{}
	for name, property := range tl.InputSchema.Properties {
		value, ok := known[name]
		switch {
		case ok:
		case property.Type == "number", property.Type == "integer":
			value = 1
		case property.Type == "boolean":
			value = true
		case property.Type == "array":
			value = []string{"x"}
		case property.Type == "object":
			value = map[string]any{}
		default:
			value = "x"
		}
		args[name] = value
	}
	return args
}

// callAll calls every tool of a list but those that do not come back.
func (w *world) callAll(token, session string, tools []tool) (called int) {
	w.t.Helper()
	for _, tl := range tools {
		if slices.Contains([]string{"never", "crash", "flood", "search", "say", "trespass", "spawn", "slow", "fetch_url", lyingFetch}, tl.Name) {
			continue
		}
		if r := w.tool(token, session, tl.Name, tl.arguments()); r.status != 200 {
			w.t.Errorf("%s: %d %.300s", tl.Name, r.status, r.body)
		}
		called++
	}
	return called
}

// A read-only session writes nothing, by whatever tool, method or path, shown to it or not.
func TestReadOnlyReachesNoWrite(t *testing.T) {
	w, forge := startRecorded(t, "standin")
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "read")
	id := w.begin(token)
	broad, _ := w.loginFor(client, "", "write")
	all := w.tools(broad, w.begin(broad))
	w.callAll(token, id, all)
	const issues = "/api/v1/repos/alice/hello/issues"
	w.wantReadOnly(w.tool(token, id, lyingFetch, map[string]any{"url": w.forge.URL + issues, "method": "POST"})) // it gets as far as the proxy
	for _, path := range []string{
		issues, "/" + issues, "/api/v1/../v1/repos/alice/hello/issues", "/api/v1/repos/alice/hello/%69ssues", "/API/v1/repos/alice/hello/issues",
		issues + "/", issues + "?_method=GET", issues + "#x", issues + "%00", issues + "%0d%0aGET%20/", issues + ";x", "/alice/hello/issues/new",
		"/alice/hello.git/git-receive-pack", "/alice/hello.git/info/lfs/objects/batch", "/api/graphql", "/api/internal/hook", "/api/packages/alice/generic/x/1/y", "/v2/alice/x/blobs/uploads/",
	} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "LOCK", "QUERY", "GETX", "get", "Post", "HEAD ", "GET\t"} {
			w.tool(token, id, lyingFetch, map[string]any{"url": w.forge.URL + path, "method": method})
		}
	}
	reads, writes := forge.take()
	if reads < 4 || len(writes) > 0 {
		t.Errorf("%d reads, and %q", reads, writes)
	}
	w.callAll(broad, w.begin(broad), all)
	if _, writes := forge.take(); len(writes) == 0 {
		t.Error("no tool writes, even where it may: nothing was shown")
	}
}

// The same with every tool of the real program.
func TestRealForgejoMCPReachesNoWrite(t *testing.T) {
	binary := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if binary == "" {
		t.Skip("SKIP: FJMCP_TEST_FORGEJO_MCP does not name a forgejo-mcp binary")
	}
	w, forge := startRecorded(t, binary)
	client, err := w.register(t.Context())
	w.must(err)
	token, _ := w.loginFor(client, "", "read")
	broad, _ := w.loginFor(client, "", "write")
	all := w.tools(broad, w.begin(broad))
	called := w.callAll(token, w.begin(token), all)
	reads, writes := forge.take()
	if called < 100 || reads < 40 || len(writes) > 0 {
		t.Errorf("%d tools made %d reads, and %q", called, reads, writes)
	}
	w.callAll(broad, w.begin(broad), all)
	if _, writes := forge.take(); len(writes) < 40 {
		t.Errorf("only %d writes where they are allowed: %q", len(writes), writes)
	}
}
