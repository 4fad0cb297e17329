package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// backends are one that speaks 2026-07-28, to be passed through, and the same held
// to 2025-11-25, to be translated for.
var backends = map[string]string{"passed through": "everything", "translated": "held"}

// mustConnectModern connects the SDK's client in its newest era.
func (w *world) mustConnectModern(user string, options *mcp.ClientOptions) *loginclient.Client {
	w.t.Helper()
	b := loginclient.NewBrowser(w.transport, user, user+"-password")
	c, err := loginclient.Connect(w.t.Context(), loginclient.Config{MCPURL: w.broker.URL + "/mcp", Transport: w.transport, Browser: b, Options: options, Protocol: "2026-07-28"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

func TestModernClient(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend)
			c := w.mustConnectModern("alice", nil)
			if got := c.InitializeResult().ProtocolVersion; got != "2026-07-28" || c.ID() != "" {
				t.Fatalf("negotiated %s, session %q", got, c.ID())
			}
			if got := c.InitializeResult().ServerInfo.Name; got != "mcp-conformance-test-server" {
				t.Errorf("the server is %q", got)
			}
			w.mustCall(c, "test_simple_text", nil, "simple text response")
			if _, err := call(t.Context(), c, "test_error_handling", nil); err == nil || !strings.Contains(err.Error(), "intentionally returns an error") {
				t.Errorf("a tool error came as %v", err)
			}
			w.mustCallWithProgress(c, "test_tool_with_progress", nil, "")
			r, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "test://static-text"})
			if err != nil || len(r.Contents) != 1 {
				t.Errorf("got %v, %v", r, err)
			}
			if n := strings.Count(w.log.String(), "FJMCP_EVENT=session_started"); n != 1 {
				t.Errorf("%d units were started", n)
			}
		})
	}
}

// modern is a request of 2026-07-28 and its headers.
type modern struct {
	id, method, params string // params without _meta, "" for none
	meta               string // further members of _meta, with a comma before
	capabilities       string // "" for none
}

func (m modern) body() string {
	if m.capabilities == "" {
		m.capabilities = "{}"
	}
	if m.params != "" {
		m.params += ","
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"%s","params":{%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":%s%s}}}`,
		m.id, m.method, m.params, m.capabilities, m.meta)
}

func (m modern) header() []string {
	var named struct{ Params struct{ Name, URI string } }
	_ = json.Unmarshal([]byte(m.body()), &named)
	h := []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", m.method}
	if name := named.Params.Name + named.Params.URI; name != "" {
		h = append(h, "Mcp-Name", name)
	}
	return h
}

func (w *world) modern(token string, m modern) response {
	w.t.Helper()
	return w.post(token, "", m.body(), m.header()...)
}

func TestModernRequests(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend)
			token := w.token(w.mustConnect("alice"))
			for _, tc := range []struct {
				name    string
				request modern
				status  int
				want    []string
			}{
				{"discover", modern{id: `"d\u0031"`, method: "server/discover"}, 200, []string{`"id":"d\u0031"`, `"supportedVersions":["2026-07-28","2025-11-25"`, `"tools":{`, `"resultType":"complete"`, `"ttlMs":`, `"cacheScope":"p`, `"io.modelcontextprotocol/serverInfo":{"name":"mcp-conformance-test-server"`}},
				{"list of tools", modern{id: "12345678901234567890", method: "tools/list"}, 200, []string{`"id":12345678901234567890`, `"resultType":"complete"`, `"cacheScope":"p`, `"ttlMs":`, `"tools":[`}},
				{"list of prompts", modern{id: "1", method: "prompts/list"}, 200, []string{`"resultType":"complete"`, `"cacheScope":"p`}},
				{"list of resources", modern{id: "1", method: "resources/list"}, 200, []string{`"resultType":"complete"`, `"cacheScope":"p`}},
				{"list of templates", modern{id: "1", method: "resources/templates/list"}, 200, []string{`"resultType":"complete"`, `"cacheScope":"p`}},
				{"a resource", modern{id: "1", method: "resources/read", params: `"uri":"test://static-text"`}, 200, []string{`"resultType":"complete"`, `"ttlMs":0`, `"cacheScope":"p`}},
				{"no such resource", modern{id: "1", method: "resources/read", params: `"uri":"test://none"`}, 200, []string{`"code":-32602`}},
				{"a prompt", modern{id: "1", method: "prompts/get", params: `"name":"test_simple_prompt"`}, 200, []string{`"resultType":"complete"`}},
				{"a tool", modern{id: `"x"`, method: "tools/call", params: `"name":"test_simple_text"`}, 200, []string{`"id":"x"`, `"resultType":"complete"`, `"io.modelcontextprotocol/serverInfo":{`}},
				{"initialize", modern{id: "7", method: "initialize"}, 404, []string{`"id":7`, `"code":-32601`}},
				{"ping", modern{id: "7", method: "ping"}, 404, []string{`"id":7`, `"code":-32601`}},
				{"log level", modern{id: "7", method: "logging/setLevel"}, 404, []string{`"id":7`, `"code":-32601`}},
				{"subscribe", modern{id: "7", method: "resources/subscribe"}, 404, []string{`"id":7`, `"code":-32601`}},
				{"unknown method", modern{id: "7", method: "no/such"}, 404, []string{`"id":7`, `"code":-32601`}},
				{"malformed capabilities", modern{id: "7", method: "tools/list", capabilities: `{"sampling":1}`}, 400, []string{`"id":7`, `"code":-32602`}},
				{"unknown log level", modern{id: "7", method: "tools/list", meta: `,"io.modelcontextprotocol/logLevel":"loud"`}, 400, []string{`"id":7`, `"code":-32602`}},
			} {
				r := w.modern(token, tc.request)
				body := strings.Join(strings.Fields(r.body), " ")
				for _, want := range tc.want {
					if r.status != tc.status || !strings.Contains(body, want) {
						t.Errorf("%s: got %d %.500s, want %d with %s", tc.name, r.status, body, tc.status, want)
						break
					}
				}
			}
		})
	}
}

// The headers and the body have to agree before anything starts.
func TestModernHeaders(t *testing.T) {
	w := start(t, "held")
	c := w.mustConnect("alice")
	token, session := w.token(c), c.ID()
	list := modern{id: "5", method: "tools/list"}
	call := modern{id: "5", method: "tools/call", params: `"name":"test_simple_text"`}
	for _, tc := range []struct {
		name, session, body string
		header              []string
		status              int
		want                string
	}{
		{"no _meta", "", `{"jsonrpc":"2.0","id":5,"method":"tools/list"}`, list.header(), 400, `-32602`},
		{"no version in _meta", "", `{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}}`, list.header(), 400, `-32602`},
		{"no capabilities", "", `{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, list.header(), 400, `-32602`},
		{"unknown version", "", strings.Replace(list.body(), "2026-07-28", "v999.0.0", 1), []string{"MCP-Protocol-Version", "v999.0.0"}, 400, `"code":-32022,"message":"unsupported protocol version","data":{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"requested":"v999.0.0"}`},
		{"unknown version in the header alone", "", `{"jsonrpc":"2.0","id":5,"method":"tools/list"}`, []string{"MCP-Protocol-Version", "1999-01-01"}, 400, `-32022`},
		{"two versions", "", strings.Replace(list.body(), "2026-07-28", "v999.0.0", 1), list.header(), 400, `-32020`},
		{"no version header", "", list.body(), []string{"Mcp-Method", "tools/list"}, 400, `-32020`},
		{"no method header", "", list.body(), list.header()[:2], 400, `-32020`},
		{"another method", "", list.body(), call.header(), 400, `-32020`},
		{"no name", "", call.body(), call.header()[:4], 400, `-32020`},
		{"a session is of no matter", "nonsense", list.body(), list.header(), 200, `"tools"`},
		{"a dead session", "nonsense", `{"jsonrpc":"2.0","id":5,"method":"tools/list"}`, list.header(), 404, `Session not found`},
		{"a live session", session, `{"jsonrpc":"2.0","id":5,"method":"ping"}`, list.header(), 200, `"result"`},
		{"a batch", "", `[` + list.body() + `]`, list.header(), 400, `-32600`},
	} {
		r := w.post(token, tc.session, tc.body, tc.header...)
		if r.status != tc.status || !strings.Contains(r.body, tc.want) || tc.name != "a batch" && !strings.Contains(r.body, `"id":5`) {
			t.Errorf("%s: got %d %.300s, want %d with %s", tc.name, r.status, r.body, tc.status, tc.want)
		}
	}
	if r := w.post(token, "", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, list.header()...); r.status != 202 || r.body != "" {
		t.Errorf("a notification gave %d %s", r.status, r.body)
	}
	if r := w.do("GET", token, "", "", list.header()...); r.status != 405 {
		t.Errorf("GET gave %d", r.status)
	}
}

// An argument that the tool's schema marks is repeated in a header.
func TestParamHeaders(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend)
			token := w.token(w.mustConnect("alice"))
			w.modern(token, modern{id: "1", method: "tools/list"})
			m := modern{id: "2", method: "tools/call", params: `"name":"test_x_mcp_header","arguments":{"region":"Hello"}`}
			for value, status := range map[string]int{"Hello": 200, "=?base64?SGVsbG8=?=": 200, "=?base64?SGVsbG8?=": 400, "hello": 400} {
				if r := w.post(token, "", m.body(), append(m.header(), "Mcp-Param-Region", value)...); r.status != status {
					t.Errorf("%s: got %d %s", value, r.status, r.body)
				}
			}
			if r := w.modern(token, m); r.status != 400 || !strings.Contains(r.body, "-32020") {
				t.Errorf("without the header: got %d %s", r.status, r.body)
			}
		})
	}
}

// A client that calls without having initialized, of no revision in particular.
func TestCallWithoutASession(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend)
			token := w.token(w.mustConnect("alice"))
			for _, header := range [][]string{nil, {"MCP-Protocol-Version", "2025-06-18"}, {"Mcp-Method", "tools/call"}} {
				r := w.post(token, "", `{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"test_simple_text","arguments":{}}}`, header...)
				if r.status != 200 || !strings.Contains(r.body, "simple text response") || !strings.Contains(r.body, `"id":"c"`) {
					t.Errorf("%v: got %d %s", header, r.status, r.body)
				}
			}
			if r := w.post(token, "", `{"jsonrpc":"2.0","method":"notifications/initialized"}`); r.status != 202 {
				t.Errorf("a notification gave %d %s", r.status, r.body)
			}
			r := w.post(token, "", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_sampling","arguments":{"prompt":"x"}}}`)
			if r.status != 200 || strings.Contains(r.header.Get("Content-Type"), "event-stream") {
				t.Errorf("a tool that asks gave %d %s", r.status, r.body)
			}
		})
	}
}
