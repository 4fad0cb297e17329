package call

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

const (
	parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	other  = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00"
)

// A request is known by what it names; nothing else of its arguments is kept.
func TestAbout(t *testing.T) {
	for name, tc := range map[string]struct {
		method, params string
		want           about
	}{
		"a tool":              {"tools/call", `{"name":"get_issue","arguments":{"owner":"alice","repo":"site","index":7,"body":"secret"}}`, about{Tool: "get_issue", Repo: "alice/site", Issue: "7", Arguments: 57}},
		"without arguments":   {"tools/call", `{"name":"get_my_user_info"}`, about{Tool: "get_my_user_info"}},
		"a team's":            {"tools/call", `{"name":"t","arguments":{"org":"o","repo":"r"}}`, about{Tool: "t", Repo: "o/r", Arguments: 22}},
		"to be forked":        {"tools/call", `{"name":"t","arguments":{"user":"u","organization":"o","repo":"r"}}`, about{Tool: "t", Repo: "u/r", Arguments: 42}},
		"escaped":             {"tools/call", `{"name":"t","arguments":{"\u006fwner":"\u0061","repo":"r","index":"3"}}`, about{Tool: "t", Repo: "a/r", Issue: "3", Arguments: 46}},
		"given twice":         {"tools/call", `{"name":"t","arguments":{"owner":"a","owner":"b","repo":"r"}}`, about{Tool: "t", Repo: "b/r", Arguments: 36}},
		"no names":            {"tools/call", `{"name":"t","arguments":{"owner":"a b","repo":"../x","index":1.5}}`, about{Tool: "t", Arguments: 41}},
		"no strings":          {"tools/call", `{"name":"t","arguments":{"owner":["a"],"repo":{"x":1},"index":-1}}`, about{Tool: "t", Arguments: 41}},
		"an owner alone":      {"tools/call", `{"name":"t","arguments":{"owner":"a"}}`, about{Tool: "t", Arguments: 13}},
		"a prompt":            {"prompts/get", `{"name":"p","arguments":{"owner":"a","repo":"r"}}`, about{Prompt: "p", Repo: "a/r", Arguments: 24}},
		"a repository":        {"resources/read", `{"uri":"forgejo://repo/alice/site"}`, about{Resource: "forgejo:repo", Repo: "alice/site", Arguments: 27}},
		"an issue's comments": {"resources/read", `{"uri":"forgejo://repo/a/r/issue/5/comments?page=2"}`, about{Resource: "forgejo:repo/issue/comments", Repo: "a/r", Issue: "5", Arguments: 44}},
		"a comment":           {"resources/read", `{"uri":"forgejo://repo/a/r/pr/5/comment/9"}`, about{Resource: "forgejo:repo/pr/comment", Repo: "a/r", Issue: "5", Arguments: 35}},
		"a rule":              {"resources/read", `{"uri":"forgejo://repo/a/r/branch_protection/x%2Fy"}`, about{Resource: "forgejo:repo/branch_protection", Repo: "a/r", Arguments: 44}},
		"labels":              {"resources/read", `{"uri":"forgejo://org/secret/labels"}`, about{Resource: "forgejo:org/labels", Arguments: 29}},
		"a user":              {"resources/read", `{"uri":"forgejo://owner/secret"}`, about{Resource: "forgejo:owner", Arguments: 24}},
		"a value for a kind":  {"resources/read", `{"uri":"forgejo://repo/a/r/Secret/5"}`, about{Resource: "forgejo:repo", Repo: "a/r", Arguments: 29}},
		"a file":              {"resources/read", `{"uri":"file:///etc/passwd"}`, about{Resource: "file:", Arguments: 20}},
		"no URI":              {"resources/read", `{"uri":"::"}`, about{Arguments: 4}},
		"what uses nothing":   {"tools/list", `{"name":"x"}`, about{}},
	} {
		m, err := mcp.Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"` + tc.method + `","params":` + tc.params + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got := newAbout(http.Header{}, m)
		if got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
		if kept, _ := json.Marshal(got); strings.Contains(strings.ToLower(string(kept)), "secret") {
			t.Errorf("%s: kept %s", name, kept)
		}
	}
}

// A trace is kept as W3C Trace Context writes it, _meta's before the header's.
func TestTrace(t *testing.T) {
	later := "cc" + parent[2:]
	for _, tc := range []struct {
		meta   string
		header []string
		want   string
	}{
		{"", nil, ""},
		{parent, nil, parent},
		{"", []string{parent}, parent},
		{parent, []string{other}, parent},
		{"x", []string{other}, other},
		{"", []string{parent, other}, ""},
		{later, nil, later},
		{later + "-more", nil, later},
		{later + ".more", nil, ""},
		{parent + "-more", nil, ""},
		{"ff" + parent[2:], nil, ""},
		{strings.ToUpper(parent), nil, ""},
		{"00-" + strings.Repeat("0", 32) + parent[35:], nil, ""},
		{parent[:36] + strings.Repeat("0", 16) + "-01", nil, ""},
		{parent + "\n", nil, ""},
		{" " + parent, nil, ""},
	} {
		meta, _ := json.Marshal(tc.meta)
		m, err := mcp.Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"traceparent":` + string(meta) + `}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := trace(http.Header{"Traceparent": tc.header}, m); got != tc.want {
			t.Errorf("%q, %q: got %q, want %q", tc.meta, tc.header, got, tc.want)
		}
	}
}
