//lint:file-ignore SA1019 this transport is deprecated, and so is sampling; both are served here

package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

func (w *world) connectSSE(user string, options *mcp.ClientOptions) *loginclient.Client {
	w.t.Helper()
	b := loginclient.NewBrowser(w.transport, user, user+"-password")
	c, err := loginclient.ConnectSSE(w.t.Context(), loginclient.Config{MCPURL: w.url + "/sse", Transport: w.transport, Browser: b, Options: options})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// The SDK's client of 2024-11-05: login by the endpoint's own metadata, tools,
// progress, log messages, and what the backend asks.
func TestSSEClient(t *testing.T) {
	w := startAt(t, "/fjmcp", "everything")
	var progress, logged atomic.Int32
	c := w.connectSSE("alice", &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"username": "carol", "email": "carol@example.org"}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "m", Content: &mcp.TextContent{Text: "an answer"}}, nil
		},
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progress.Add(1) },
		LoggingMessageHandler:       func(context.Context, *mcp.LoggingMessageRequest) { logged.Add(1) },
	})
	list, err := c.ListTools(t.Context(), nil)
	if err != nil || len(list.Tools) == 0 {
		t.Fatalf("tools/list: %v", err)
	}
	if err := c.SetLoggingLevel(t.Context(), &mcp.SetLoggingLevelParams{Level: "debug"}); err != nil {
		t.Fatal(err)
	}
	w.mustCallWithProgress(c, "test_tool_with_progress", nil, "")
	w.mustCall(c, "test_tool_with_logging", nil, "")
	if progress.Load() == 0 || logged.Load() == 0 {
		t.Errorf("%d progress notifications, %d log messages", progress.Load(), logged.Load())
	}
	w.mustCall(c, "test_elicitation", map[string]any{"message": "who?"}, "accept")
	w.mustCall(c, "test_sampling", map[string]any{"prompt": "hello"}, "an answer")

	again, err := c.Again(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	w.mustCall(again, "test_simple_text", nil, "")
	w.mustCall(c, "test_simple_text", nil, "")
	if n := strings.Count(w.log.String(), "FJMCP_EVENT=session_started"); n != 2 {
		t.Errorf("%d sessions for two clients", n)
	}
}

// sseStream is an event stream of HTTP+SSE as a bare client sees it.
type sseStream struct {
	*events
	w        *world
	token    string
	endpoint string // below the public URL
	last     string // id of the last event
}

// listen opens a stream; further headers may be Last-Event-ID.
func (w *world) listen(token string, header ...string) *sseStream {
	w.t.Helper()
	s := &sseStream{events: w.openAt("GET", "/sse", token, "", header...), w: w, token: token}
	e, _ := s.next()
	prefix := strings.TrimPrefix(w.url, w.broker.URL)
	endpoint, ok := strings.CutPrefix(e.data, prefix)
	if e.name != "endpoint" || !ok || !strings.HasPrefix(endpoint, "/messages?") {
		w.t.Fatalf("the stream began with %+v", e)
	}
	s.endpoint, s.last = endpoint, e.id
	return s
}

// post sends a message, which must be accepted.
func (s *sseStream) post(message string) {
	s.t.Helper()
	if r := s.w.doAt("POST", s.endpoint, s.token, message); r.status != 202 || r.body != "Accepted" {
		s.t.Fatalf("%s gave %d %s", message, r.status, r.body)
	}
}

// message returns the data of the next message, which must hold want.
func (s *sseStream) message(want string) string {
	s.t.Helper()
	e, ok := s.next()
	if !ok || e.name != "message" || !strings.Contains(e.data, want) {
		s.t.Fatalf("got %+v, want %s in it", e, want)
	}
	s.last = e.id
	return e.data
}

// initialize begins the session.
func (s *sseStream) initialize() {
	s.t.Helper()
	s.post(initialize)
	s.message(`"serverInfo"`)
	s.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

const whoAmI = `{"jsonrpc":"2.0","id":"who","method":"tools/call","params":{"name":"get_my_user_info","arguments":{}}}`

// An EventSource comes back with Last-Event-ID and goes on with its session at the
// same endpoint; it does not initialize again.
func TestSSEStreamIsResumed(t *testing.T) {
	w := startAt(t, "/fjmcp", "standin")
	token := w.token(w.connectSSE("alice", nil))
	s := w.listen(token)
	s.post(initialize)
	s.cancel() // before anything but the endpoint was seen
	s = w.listen(token, "Last-Event-ID", s.last)
	s.message(`"serverInfo"`)
	s.post(slowCall)
	for range 3 {
		s.message("notifications/progress")
	}
	s.cancel()
	rest := w.listen(token, "Last-Event-ID", s.last)
	if rest.endpoint != s.endpoint {
		t.Errorf("the endpoint changed")
	}
	for seen := 3; seen < 20; seen++ {
		if got := progress(rest.message("notifications/progress")); got != seen+1 {
			t.Fatalf("after progress %d came %d", seen, got)
		}
	}
	rest.message(`"id":"x"`)
	rest.post(whoAmI)
	rest.message(`alice`)
	for _, secret := range []string{strings.TrimPrefix(s.endpoint, "/messages?sessionId="), "sse-"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log tells %s", secret)
		}
	}
}

// The TypeScript SDK comes back without Last-Event-ID, and takes itself for
// initialized still.
func TestSSEClientGoesOnOnAnotherStream(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.connectSSE("alice", nil))
	s := w.listen(token)
	s.initialize()
	s.cancel()
	other := w.listen(token)
	if other.endpoint == s.endpoint {
		t.Fatal("two streams have one endpoint")
	}
	other.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"old"}}`)
	other.post(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	other.message(`{"jsonrpc":"2.0","id":"p","result":{}}`)
	other.post(whoAmI)
	other.message("alice")
	other.post(whoAmI)
	other.message("alice")
}

// A client that also speaks the stateless revision asks for it first, as the Go SDK
// does. That is not a client that goes on.
func TestSSEClientTriesTheStatelessRevision(t *testing.T) {
	w := start(t, "everything")
	token := w.token(w.connectSSE("alice", nil))
	s := w.listen(token)
	s.post(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`)
	s.message("-32601")
	s.initialize()
}

// Nobody else gets at a stream, neither to listen nor to post.
func TestSSEStreamsOfOthers(t *testing.T) {
	w := start(t, "standin")
	alice := w.token(w.connectSSE("alice", nil))
	fresh, s := w.listen(alice), w.listen(alice)
	s.initialize()
	for name, token := range map[string]string{
		"another user": w.token(w.mustConnect("bob")), "another client of the user": w.token(w.mustConnect("alice")),
	} {
		for _, r := range []response{
			w.doAt("POST", s.endpoint, token, whoAmI), w.doAt("POST", fresh.endpoint, token, initialize),
			w.doAt("GET", "/sse", token, "", "Last-Event-ID", s.last), w.doAt("GET", "/sse", token, "", "Last-Event-ID", fresh.last),
		} {
			if r.status != 404 || !strings.Contains(r.body, "-32001") || !strings.Contains(r.body, "Session not found") {
				t.Errorf("%s got %d %s", name, r.status, r.body)
			}
		}
	}
	s.post(whoAmI)
	s.message("alice")
	fresh.initialize()
}

func TestSSERefusals(t *testing.T) {
	w := startAt(t, "/fjmcp", "standin")
	token := w.token(w.connectSSE("alice", nil))
	s := w.listen(token)
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	unknown := "/messages?sessionId=AAAAAAAAAAAAAAAAAAAAAAAAAA"
	challenge := fmt.Sprintf("Bearer resource_metadata=%q", w.broker.URL+"/.well-known/oauth-protected-resource/fjmcp/sse")
	for _, tc := range []struct {
		name, method, path, token, body string
		header                          []string
		status                          int
		want                            string // in the body or a header
	}{
		{"no token", "GET", "/sse", "", "", nil, 401, challenge},
		{"no token to post to the stream", "POST", "/sse", "", initialize, nil, 401, challenge},
		{"no token for a look", "HEAD", "/sse", "", "", nil, 401, challenge},
		{"no token to post", "POST", s.endpoint, "", ping, nil, 401, challenge},
		{"wrong token", "POST", s.endpoint, "fja_wrong", ping, nil, 401, challenge},
		{"streamable first", "POST", "/sse", token, initialize, nil, 405, "Allow: GET, OPTIONS"},
		{"end", "DELETE", "/sse", token, "", nil, 405, "Allow: GET, OPTIONS"},
		{"stream at the wrong place", "GET", s.endpoint, token, "", nil, 405, "Allow: POST, OPTIONS"},
		{"no stream", "POST", "/messages", token, ping, nil, 404, "Session not found"},
		{"unknown stream", "POST", unknown, token, initialize, nil, 404, "Session not found"},
		{"strange stream", "POST", "/messages?sessionId=../x", token, ping, nil, 404, "Session not found"},
		{"ended session", "GET", "/sse", token, "", []string{"Last-Event-ID", "AAAAAAAAAAAAAAAAAAAAAAAAAA-0-1"}, 404, "Session not found"},
		{"foreign origin", "POST", s.endpoint, token, ping, []string{"Origin", "https://evil.test"}, 403, "Origin"},
		{"foreign origin listens", "GET", "/sse", token, "", []string{"Origin", "https://evil.test"}, 403, "Origin"},
		{"no JSON", "POST", s.endpoint, token, "{", nil, 400, "-32700"},
		{"batch", "POST", s.endpoint, token, "[" + ping + "]", nil, 400, "-32600"},
		{"wrong type", "POST", s.endpoint, token, ping, []string{"Content-Type", "text/plain"}, 415, "application/json"},
		{"too large", "POST", s.endpoint, token, strings.Repeat("x", 65<<20), nil, 413, "too large"},
		{"preflight", "OPTIONS", s.endpoint, "", "", []string{"Origin", "http://localhost:6274"}, 204, "Access-Control-Allow-Origin: http://localhost:6274"},
	} {
		r := w.doAt(tc.method, tc.path, tc.token, tc.body, tc.header...)
		var told strings.Builder
		_ = r.header.Write(&told)
		if r.status != tc.status || !strings.Contains(told.String()+r.body, tc.want) {
			t.Errorf("%s: %d %s %v", tc.name, r.status, r.body, r.header)
		}
	}
	s.post(whoAmI) // alice has a session of this transport, but its client may be another program
	s.message(`"who"`)
	s.post(initialize)
	s.message("-32600")
}

// Streams without a session are bounded, and those with one do not count.
func TestSSEStreamsAreBounded(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.connectSSE("alice", nil))
	const bound = 16
	var open []*sseStream
	for range bound {
		open = append(open, w.listen(token))
	}
	refused := func() response { return w.doAt("GET", "/sse", token, "") }
	if r := refused(); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	w.listen(w.token(w.mustConnect("bob")))
	open[0].initialize()
	open = append(open, w.listen(token))
	if r := refused(); r.status != 429 {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	open[bound].cancel()
	for w.tryListen(token) != http.StatusOK { // the broker notices in its own time that the client has left
		time.Sleep(10 * time.Millisecond)
	}
}

// tryListen opens a stream, closes it and returns the status.
func (w *world) tryListen(token string) int {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	resp, err := w.transport.RoundTrip(w.request(ctx, "GET", "/sse", token, ""))
	w.must(err)
	resp.Body.Close()
	return resp.StatusCode
}

// At shutdown a stream stays for the responses that are to come, then ends; with
// the next broker the session goes on.
func TestSSEOutlivesTheBroker(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.connectSSE("alice", nil))
	fresh, idle, s := w.listen(token), w.listen(token), w.listen(token)
	idle.initialize()
	s.initialize()
	s.post(slowCall)
	s.message("notifications/progress")
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.broker.Stop(syscall.SIGTERM) }()
	for !strings.Contains(s.message(""), `"result"`) {
	}
	for _, s := range []*sseStream{fresh, idle, s} {
		if e, ok := s.next(); ok {
			t.Errorf("the stream went on with %+v", e)
		}
	}
	<-stopped
	if err := w.broker.Restart(t.Context(), w.program()); err != nil {
		t.Fatal(err)
	}
	for _, before := range []*sseStream{idle, s} {
		after := w.listen(token, "Last-Event-ID", before.last)
		if after.endpoint != before.endpoint {
			t.Error("the endpoint changed")
		}
		after.post(whoAmI)
		after.message("alice")
	}
	after := w.listen(token, "Last-Event-ID", fresh.last)
	if after.endpoint != fresh.endpoint {
		t.Error("the endpoint of a stream without a session changed")
	}
	after.initialize()
}

// A session whose stream is gone goes on, keeps what it has to say, and falls
// asleep as others do.
func TestSSESessionWithoutAStream(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=1s")
	token := w.token(w.connectSSE("alice", nil))
	s := w.listen(token)
	s.initialize()
	s.cancel()
	s.post(whoAmI)
	w.waitLog("FJMCP_TOOL=get_my_user_info FJMCP_OUTCOME=ok", 1)
	w.waitLog("FJMCP_EVENT=session_reaped", 2) // the SDK's, and this
	s.post(strings.Replace(whoAmI, `"who"`, `"more"`, 1))
	s = w.listen(token, "Last-Event-ID", s.last)
	s.message(`"who"`)
	s.message(`"more"`)
}

// A cancelled call gets no response; what comes next does.
func TestSSECancellation(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.connectSSE("alice", nil))
	s := w.listen(token)
	s.initialize()
	s.post(strings.Replace(slowCall, "2000", "60000", 1))
	s.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}`)
	w.waitLog("FJMCP_OUTCOME=cancelled", 1)
	s.post(whoAmI)
	s.message(`"who"`)
}
