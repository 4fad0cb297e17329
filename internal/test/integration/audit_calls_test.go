package integration

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

func traceOf(n int) string {
	return fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e%04d-00f067aa0ba902b7-01", n)
}

// audited waits for the event of a trace and wants each of these in it.
func (w *world) audited(trace string, want ...string) {
	w.t.Helper()
	w.waitLog("FJMCP_TRACEPARENT="+trace, 1)
	line := regexp.MustCompile(`.*FJMCP_TRACEPARENT=` + trace + `.*`).FindString(w.log.String())
	for _, field := range append(want, `FJMCP_DURATION_USEC=[1-9]`) {
		if !regexp.MustCompile(`(^|\s)` + field).MatchString(line) {
			w.t.Errorf("want %s in\n%s", field, line)
		}
	}
}

// Each use of a tool, a resource or a prompt is audited, in every transport.
func TestUsesAreAudited(t *testing.T) {
	w := start(t, "everything")
	for i, c := range []*loginclient.Client{w.mustConnect("alice"), w.connectSSE("alice", nil), w.mustConnectModern("alice", nil)} {
		meta := func(n int) mcp.Meta { return mcp.Meta{"traceparent": traceOf(10*i + n)} }
		_, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{Meta: meta(1), URI: "test://static-text"})
		w.must(err)
		_, err = c.GetPrompt(t.Context(), &mcp.GetPromptParams{Meta: meta(2), Name: "test_simple_prompt"})
		w.must(err)
		_, err = c.CallTool(t.Context(), &mcp.CallToolParams{Meta: meta(3), Name: "test_simple_text", Arguments: map[string]any{}})
		w.must(err)
		for n, want := range map[int][]string{
			1: {"FJMCP_EVENT=resource_read", "FJMCP_RESOURCE=test:", `FJMCP_ARGUMENTS_BYTES=20`, "FJMCP_RESULT_BYTES=[1-9]"},
			2: {"FJMCP_EVENT=prompt_get", "FJMCP_PROMPT=test_simple_prompt", "FJMCP_RESULT_BYTES=[1-9]"},
			3: {"FJMCP_EVENT=tool_call", "FJMCP_TOOL=test_simple_text", "FJMCP_ARGUMENTS_BYTES=2", "FJMCP_RESULT_BYTES=[1-9]"},
		} {
			w.audited(traceOf(10*i+n), append(want, "FJMCP_USER=alice", "FJMCP_OUTCOME=ok", "FJMCP_SESSION=[0-9a-f]")...)
		}
	}
}

// A call is known by the repository and the number it names, by the repositories that the
// proxy saw, and by nothing else that it was called with.
func TestCallsAreAuditedByWhatTheyName(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.mustConnect("alice"))
	session := w.begin(token)
	call := func(n int, tool, arguments string) {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, n, tool, arguments)
		w.post(token, session, body, "Traceparent", traceOf(n))
	}
	call(1, "create_issue", `{"owner":"alice","repo":"hello","title":"never to be kept"}`)
	w.audited(traceOf(1), "FJMCP_OUTCOME=ok", "FJMCP_REPO=alice/hello", "FJMCP_REPOS_SEEN=alice/hello", `FJMCP_ARGUMENTS_BYTES=59`)
	call(2, "merge_pull_request", `{"owner":"alice","repo":"hello","index":17}`)
	w.audited(traceOf(2), "FJMCP_REPO=alice/hello", "FJMCP_ISSUE=17", "FJMCP_REPOS_SEEN=alice/hello")
	call(3, "get_my_user_info", `{}`)
	w.audited(traceOf(3), "FJMCP_OUTCOME=ok")
	log := w.log.String()
	if strings.Count(log, "FJMCP_REPO=") != 2 || strings.Count(log, "FJMCP_REPOS_SEEN=") != 2 || strings.Contains(log, "FJMCP_REPOS_POSSIBLE=") || strings.Contains(log, "never to be kept") {
		t.Errorf("the log says\n%s", log)
	}
}

// So it is with the real forgejo-mcp and its resources.
func TestResourcesOfForgejoMCPAreAudited(t *testing.T) {
	binary := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if binary == "" {
		t.Skip("SKIP: FJMCP_TEST_FORGEJO_MCP does not name a forgejo-mcp binary")
	}
	w := start(t, binary)
	c := w.mustConnect("alice")
	_, _ = c.ReadResource(t.Context(), &mcp.ReadResourceParams{Meta: mcp.Meta{"traceparent": traceOf(1)}, URI: "forgejo://repo/alice/hello/issue/1"})
	w.audited(traceOf(1), "FJMCP_EVENT=resource_read", "FJMCP_RESOURCE=forgejo:repo/issue", "FJMCP_REPO=alice/hello", "FJMCP_ISSUE=1", "FJMCP_REPOS_SEEN=alice/hello")
}
