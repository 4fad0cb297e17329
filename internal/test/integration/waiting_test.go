package integration

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// An answer of the backend's that cannot be passed on ends its call at once in every
// transport, and the session lives on.
func TestUnusableAnswers(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_REQUEST_TIMEOUT=1h")
	c := w.mustConnect("alice")
	token := w.token(c)
	s := w.listen(token)
	s.initialize()
	for name, tc := range map[string]struct {
		say  map[string]any
		want string
	}{
		"too long": {map[string]any{"before": `{\"jsonrpc\":\"2.0\",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"`, "unit": strings.Repeat("x", 1<<10), "times": 66 << 10, "after": `\"}]}}`},
			"bytes long, and at most 67108864 are passed on"},
		"not UTF-8": {map[string]any{"before": `{\"jsonrpc\":\"2.0\",\"result\":{\"text\":\"\xff\"}}`}, "not UTF-8"},
		"cut":       {map[string]any{"before": `{\"jsonrpc\":\"2.0\",\"result\":{`}, "not valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(how, got string) {
				if !strings.Contains(got, "the backend's answer cannot be passed on: ") || !strings.Contains(got, tc.want) {
					t.Errorf("%s: got %.300s", how, got)
				}
			}
			say, err := json.Marshal(tc.say)
			w.must(err)
			arguments := `"name":"say","arguments":` + string(say)
			check("streamable", w.tool(token, c.ID(), "say", tc.say).body)
			check("stateless", w.modern(token, modern{id: "1", method: "tools/call", params: arguments}).body)
			s.post(`{"jsonrpc":"2.0","id":"sse","method":"tools/call","params":{` + arguments + `}}`)
			check("HTTP+SSE", s.message(`"sse"`))
			w.mustCall(c, "get_my_user_info", nil, "alice")
		})
	}
}

// What is not UTF-8 is not passed to a backend.
func TestRequestsThatAreNotUTF8(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	sse := w.listen(token)
	sse.initialize()
	for _, body := range []string{
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\"\xff\"}}",
		"{\"jsonrpc\":\"2.0\",\"id\":\"\xc3\",\"method\":\"ping\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"say\xff\"}}",
		"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"\xff\"}}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\xf5\"}}",
		"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"\xed\xa0\x80\":1}}]",
	} {
		for how, r := range map[string]response{
			"streamable": w.post(token, c.ID(), body),
			"stateless":  w.post(token, "", body, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "say"),
			"HTTP+SSE":   w.doAt("POST", sse.endpoint, token, body),
		} {
			if r.status != 400 || !strings.Contains(r.body, "-32700") || !strings.Contains(r.body, "UTF-8") {
				t.Errorf("%s: %q gave %d %s", how, body, r.status, r.body)
			}
		}
	}
}

// raw sends a request over a connection of its own and returns the response's head.
func (w *world) raw(head string) *http.Response {
	w.t.Helper()
	u, err := url.Parse(w.broker.URL)
	w.must(err)
	c, err := net.Dial("tcp", "127.0.0.1:"+u.Port())
	w.must(err)
	w.t.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, head)
	w.must(err)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	w.must(err)
	return r
}

// Where headers say what the answer is, it does not wait for the body: each of these has
// a client that never sends one.
func TestAnswersFromHeaders(t *testing.T) {
	w := start(t, "standin")
	bearer := "Authorization: Bearer " + w.token(w.mustConnect("alice")) + "\r\n"
	const typed = "Content-Type: application/json\r\n"
	for _, tc := range []struct {
		line, header string
		status       int
	}{
		{"POST /mcp", typed, 401},
		{"POST /mcp", bearer, 415},
		{"POST /mcp", bearer + typed + "Accept: text/html\r\n", 406},
		{"POST /mcp", bearer + typed + "Origin: https://evil.example\r\n", 403},
		{"PUT /mcp", bearer + typed, 405},
		{"POST /sse", bearer + typed, 405},
		{"POST /messages", typed, 401},
		{"POST /nothing", typed, 404},
		{"PUT /oauth/token", typed, 405},
		{"POST /oauth/token", typed, 401},
		{"POST /oauth/jwks", typed, 405},
		{"POST /.well-known/oauth-authorization-server", typed, 405},
		{"POST /healthz", typed, 405},
		{"POST /oauth/token", "Content-Type: application/x-www-form-urlencoded\r\nAuthorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\n", 400},
	} {
		for _, expect := range []string{"Expect: 100-continue\r\n", ""} {
			r := w.raw(tc.line + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n" + tc.header + expect + "\r\n")
			if r.StatusCode != tc.status {
				t.Errorf("%s %q %q: got %d, want %d", tc.line, tc.header, expect, r.StatusCode, tc.status)
			}
		}
	}
	if r := w.raw("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n" + bearer + typed + "\r\n"); r.StatusCode != 413 {
		t.Errorf("a long body: got %d", r.StatusCode)
	}
	for _, path := range []string{"/mcp", "/oauth/register", "/oauth/token"} {
		form := strings.Replace(typed, "json", "x-www-form-urlencoded", 1)
		if path != "/oauth/token" {
			form = typed
		}
		if r := w.raw("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n" + bearer + form + "\r\n"); r.StatusCode != 100 {
			t.Errorf("%s needs the body: got %d, want 100", path, r.StatusCode)
		}
	}
}

// A header that has one value is refused when it stands twice, in the words of whoever
// serves the path.
func TestRepeatedHeaders(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.mustConnect("alice"))
	for _, tc := range []struct{ path, header, want string }{
		{"/mcp", "Authorization", `"code":-32600`},
		{"/mcp", "Mcp-Session-Id", `"code":-32600`},
		{"/mcp", "Content-Type", `"code":-32600`},
		{"/mcp", "Mcp-Protocol-Version", `"code":-32600`},
		{"/mcp", "Last-Event-Id", `"code":-32600`},
		{"/mcp", "Origin", `"code":-32600`},
		{"/messages?sessionId=x", "Authorization", `"code":-32600`},
		{"/oauth/token", "Authorization", `"error":"invalid_request"`},
		{"/oauth/revoke", "Content-Type", `"error":"invalid_request"`},
		{"/oauth/introspect", "Authorization", `"error":"invalid_request"`},
		{"/oauth/register", "Content-Type", `"error":"invalid_request"`},
		{"/oauth/authorize", "Content-Type", `cannot be understood`},
	} {
		r := w.request(t.Context(), "POST", tc.path, token, "{}")
		first := r.Header.Get(tc.header)
		r.Header[tc.header] = []string{first, first}
		resp, err := w.transport.RoundTrip(r)
		w.must(err)
		text, err := io.ReadAll(resp.Body)
		w.must(err)
		if resp.StatusCode != 400 || !strings.Contains(string(text), tc.want) || !strings.Contains(string(text), tc.header+" header stands more than once") {
			t.Errorf("%s twice at %s: got %d %s", tc.header, tc.path, resp.StatusCode, text)
		}
	}
}

// A session that ends tells the calls in flight so, on their streams, before these end: a
// client that sees the stream end alone comes back for it, or waits.
func TestCallsOfAnEndedSession(t *testing.T) {
	w := start(t, "standin")
	long := strings.Replace(slowCall, "2000", "3600000", 1)
	ends := func(stream *events) {
		t.Helper()
		for last := ""; ; {
			e, ok := stream.next()
			if !ok {
				if !strings.Contains(last, `"id":"x","error"`) || !strings.Contains(last, "the session ended") {
					t.Errorf("the stream ended after %s", last)
				}
				return
			}
			last = e.data
		}
	}
	c := w.mustConnect("alice")
	token := w.token(c)
	stream := w.open("POST", token, c.ID(), strings.Replace(long, `"steps":20`, `"steps":100000`, 1))
	stream.next()
	stream.next()
	if r := w.do("DELETE", token, c.ID(), ""); r.status != 204 {
		t.Fatalf("DELETE gave %d", r.status)
	}
	ends(stream)
	s := w.listen(w.token(w.connectSSE("bob", nil)))
	s.initialize()
	s.post(strings.Replace(long, `"steps":20`, `"steps":100000`, 1))
	s.message("notifications/progress")
	if got := w.ctl("sessions", "stop", "--user", "bob", "--yes"); got.status != 0 {
		t.Fatalf("stop gave %+v", got)
	}
	ends(s.events)
}
