//lint:file-ignore SA1019 sampling is deprecated, and part of the revisions served here

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// event is one server-sent event.
type event struct{ id, name, data string }

// events is an open event stream.
type events struct {
	t      *testing.T
	in     *bufio.Scanner
	cancel context.CancelFunc
}

// open sends a request whose answer must be an event stream.
func (w *world) open(method, token, session, body string, header ...string) *events {
	w.t.Helper()
	return w.openAt(method, "/mcp", token, body, append([]string{"Mcp-Session-Id", session}, header...)...)
}

// openAt is open for any path below the public URL.
func (w *world) openAt(method, path, token, body string, header ...string) *events {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	resp, err := (&http.Client{Transport: w.transport}).Do(w.request(ctx, method, path, token, body, header...))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" || resp.Header.Get("X-Accel-Buffering") != "no" {
		w.t.Fatalf("%s gave %d %s", method, resp.StatusCode, got)
	}
	return &events{w.t, bufio.NewScanner(resp.Body), cancel}
}

// next returns the next event; ok is false when the stream has ended.
func (e *events) next() (got event, ok bool) {
	e.t.Helper()
	for e.in.Scan() {
		name, value, _ := strings.Cut(e.in.Text(), ": ")
		switch {
		case name == "event":
			got.name = value
		case name == "id":
			got.id, ok = value, true
		case name == "data":
			got.data, ok = value, true
		case e.in.Text() == "" && ok:
			return got, true
		}
	}
	return event{}, false
}

const slowCall = `{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"slow","arguments":{"ms":2000,"steps":20},"_meta":{"progressToken":"p"}}}`

// A client whose connection breaks goes on after the last event it saw, and
// misses none.
func TestBrokenStreamIsResumed(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	stream := w.open("POST", token, c.ID(), slowCall)
	var last event
	for range 4 { // the first is empty and carries an id
		last, _ = stream.next()
	}
	seen := progress(last.data)
	stream.cancel()
	rest := w.open("GET", token, c.ID(), "", "Last-Event-ID", last.id)
	for {
		e, ok := rest.next()
		if !ok {
			t.Fatal("the stream ended without the response")
		}
		if strings.Contains(e.data, `"id":"x"`) {
			break
		}
		if progress(e.data) != seen+1 {
			t.Fatalf("after progress %d came %s", seen, e.data)
		}
		seen++
	}
	if _, ok := rest.next(); ok || seen != 20 {
		t.Errorf("the stream went on, or ended early at %d", seen)
	}
	w.waitLog("FJMCP_TOOL=slow FJMCP_OUTCOME=ok", 1)
}

func progress(data string) int {
	m, err := parse(data)
	if err != nil {
		return -1
	}
	return m.Params.Progress
}

// What belongs to no call goes to the stream at GET, to the latest of several,
// and waits when there is none.
func TestOwnStream(t *testing.T) {
	w := start(t, "everything")
	c := w.mustConnect("alice")
	token := w.token(c)
	session := w.post(token, "", initialize).header.Get("Mcp-Session-Id")
	w.post(token, session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	trigger := func() {
		w.post(token, session, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_trigger_tool_change","arguments":{}}}`)
	}
	trigger()
	first := w.open("GET", token, session, "")
	if e, _ := first.next(); !strings.Contains(e.data, "notifications/tools/list_changed") {
		t.Fatalf("got %+v", e)
	}
	second := w.open("GET", token, session, "")
	if e, ok := first.next(); ok {
		t.Fatalf("the first listener went on with %+v", e)
	}
	trigger()
	if e, _ := second.next(); !strings.Contains(e.data, "notifications/tools/list_changed") {
		t.Fatalf("got %+v", e)
	}
	if r := w.do("DELETE", token, session, ""); r.status != 204 {
		t.Fatalf("DELETE gave %d", r.status)
	}
	if e, ok := second.next(); ok {
		t.Fatalf("the stream outlived its session with %+v", e)
	}
}

func TestBatch(t *testing.T) {
	w := start(t, "everything")
	token := w.token(w.mustConnect("alice"))
	old := w.post(token, "", strings.Replace(initialize, "2025-06-18", "2025-03-26", 1)).header.Get("Mcp-Session-Id")
	r := w.post(token, old, `[{"jsonrpc":"2.0","method":"notifications/initialized"},{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":"two","method":"tools/list"}]`)
	if r.status != 200 || !strings.Contains(r.body, `"id":1`) || !strings.Contains(r.body, `"id":"two"`) {
		t.Errorf("got %d %.300s", r.status, r.body)
	}
	if r := w.post(token, old, `[{"jsonrpc":"2.0","method":"notifications/initialized"}]`); r.status != 202 {
		t.Errorf("a batch without requests gave %d", r.status)
	}
	mixed := w.post(token, old, `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"foo":1},{"jsonrpc":"2.0","id":null,"method":"ping"},2,`+initialize+`,{"jsonrpc":"2.0","id":"two","method":"ping"}]`)
	for want, times := range map[string]int{
		`{"jsonrpc":"2.0","id":1,"result":{}}`: 1, `{"jsonrpc":"2.0","id":"two","result":{}}`: 1,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,`: 3, `{"jsonrpc":"2.0","id":0,"error":{"code":-32600,`: 1,
	} {
		if n := strings.Count(mixed.body, want); mixed.status != 200 || n != times {
			t.Errorf("%s stands %d times in %d %s", want, n, mixed.status, mixed.body)
		}
	}
	var errors []struct {
		ID    any
		Error struct{ Code int }
	}
	if r := w.post(token, old, `[1,2,3]`); r.status != 400 || json.Unmarshal([]byte(r.body), &errors) != nil || len(errors) != 3 || errors[2].ID != nil || errors[2].Error.Code != -32600 {
		t.Errorf("[1,2,3] gave %d %s", r.status, r.body)
	}
	newer := w.post(token, "", initialize).header.Get("Mcp-Session-Id")
	for session, bodies := range map[string][]string{
		newer: {`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`},
		old:   {`[]`, `[1]`, ` [ ] `, `[` + strings.Repeat("1,", 100) + `1]`},
	} {
		for _, body := range bodies {
			if r := w.post(token, session, body); r.status != 400 || !strings.Contains(r.body, "-32600") {
				t.Errorf("%s gave %d %s", body, r.status, r.body)
			}
		}
	}
}

// The backend asks its client in the midst of a call, also for what newer
// revisions deprecate.
func TestBackendAsksTheClient(t *testing.T) {
	w := start(t, "everything")
	c := w.mustConnectAs("alice", &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"username": "carol", "email": "carol@example.org"}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "m", Content: &mcp.TextContent{Text: "an answer"}}, nil
		},
	})
	w.mustCall(c, "test_elicitation", map[string]any{"message": "who?"}, "accept")
	w.mustCall(c, "test_sampling", map[string]any{"prompt": "hello"}, "an answer")
}

// mustConnectAs is mustConnect for a client with options.
func (w *world) mustConnectAs(user string, options *mcp.ClientOptions) *loginclient.Client {
	w.t.Helper()
	b := loginclient.NewBrowser(w.transport, user, user+"-password")
	c, err := loginclient.Connect(w.t.Context(), loginclient.Config{MCPURL: w.url + "/mcp", Transport: w.transport, Browser: b, Options: options})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

func TestCancelledCallEnds(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	stream := w.open("POST", token, c.ID(), strings.Replace(slowCall, "2000", "60000", 1))
	stream.next()
	stream.next()
	w.post(token, c.ID(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}`)
	for {
		e, ok := stream.next()
		if !ok {
			break
		}
		if strings.Contains(e.data, `"result"`) {
			t.Fatalf("a cancelled call was answered: %s", e.data)
		}
	}
	w.waitLog("FJMCP_OUTCOME=cancelled", 1)
}

func TestRequestTimeout(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_REQUEST_TIMEOUT=1s")
	c := w.mustConnect("alice")
	// Progress extends the time ...
	w.mustCallWithProgress(c, "slow", map[string]any{"ms": 3000, "steps": 10}, "waited 3000 ms")
	// ... silence does not.
	r := w.post(w.token(c), c.ID(), `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"slow","arguments":{"ms":60000}}}`)
	if r.status != 200 || !strings.Contains(r.body, "did not answer in time") {
		t.Fatalf("got %d %s", r.status, r.body)
	}
}

func (w *world) mustCallWithProgress(c *loginclient.Client, tool string, args map[string]any, want string) {
	w.t.Helper()
	r, err := c.CallTool(w.t.Context(), &mcp.CallToolParams{Meta: mcp.Meta{"progressToken": "p"}, Name: tool, Arguments: args})
	if err != nil || !strings.Contains(r.Content[0].(*mcp.TextContent).Text, want) {
		w.t.Fatalf("%s gave %+v, %v", tool, r, err)
	}
}

// The stream at GET begins with an event id that is another each time, for clients
// that count how often it ends without any.
func TestOwnStreamBeginsAnew(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.mustConnect("alice"))
	for _, version := range []string{"2025-11-25", "2025-06-18"} {
		session := w.post(token, "", strings.Replace(initialize, "2025-06-18", version, 1)).header.Get("Mcp-Session-Id")
		seen := map[string]bool{"": true}
		for range 3 {
			s := w.open("GET", token, session, "")
			if version < "2025-11-25" { // where an empty event is a broken message
				w.do("DELETE", token, session, "")
				if e, ok := s.next(); ok {
					t.Errorf("%s: got %+v", version, e)
				}
				break
			}
			e, ok := s.next()
			for ok && seen[e.id] { // it was not known yet that this had been written
				e, ok = s.next()
			}
			if !ok || e.data != "" {
				t.Fatalf("%s: got %+v, seen %v", version, e, seen)
			}
			seen[e.id] = true
		}
	}
}
