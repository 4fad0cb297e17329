package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

func TestLoginToToolCall(t *testing.T) {
	w := start(t, "standin")
	alice := w.mustConnect("alice")
	w.mustCall(alice, "get_my_user_info", nil, `"login":"alice"`)
	w.mustCall(alice, "list_my_repos", nil, `alice/`)
	bob := w.mustConnect("bob")
	w.mustCall(bob, "get_my_user_info", nil, `"login":"bob"`)

	// A further session with the same tokens, and the first goes on.
	again, err := alice.Again(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() == alice.ID() {
		t.Fatal("two sessions have one id")
	}
	w.mustCall(again, "get_my_user_info", nil, `"login":"alice"`)
	w.mustCall(alice, "get_my_user_info", nil, `"login":"alice"`)

	for _, want := range []string{"FJMCP_EVENT=login ", "FJMCP_EVENT=token_issued", "FJMCP_EVENT=session_started", "FJMCP_TOOL=get_my_user_info FJMCP_OUTCOME=ok"} {
		w.waitLog(want, 1)
	}
}

func TestDeleteEndsASession(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	id, token := c.ID(), w.token(c)
	if r := w.do("DELETE", token, id, ""); r.status != 204 {
		t.Fatalf("DELETE gave %d %s", r.status, r.body)
	}
	r := w.post(token, id, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	if r.status != 404 || r.body != `{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"Session not found"}}` {
		t.Fatalf("a call after DELETE gave %d %s", r.status, r.body)
	}
}

// A session answers its own user and client only.
func TestSessionsAreBound(t *testing.T) {
	w := start(t, "standin")
	alice, bob, other := w.mustConnect("alice"), w.mustConnect("bob"), w.mustConnect("alice")
	for name, token := range map[string]string{"another user": w.token(bob), "another client of the user": w.token(other)} {
		if r := w.post(token, alice.ID(), `{"jsonrpc":"2.0","id":1,"method":"ping"}`); r.status != 404 {
			t.Errorf("%s got %d %s", name, r.status, r.body)
		}
	}
	w.mustCall(alice, "get_my_user_info", nil, `"login":"alice"`)
}

func TestProgressTurnsTheAnswerIntoAStream(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	r := w.post(w.token(c), c.ID(), `{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"slow","arguments":{"ms":30,"steps":3},"_meta":{"progressToken":"p"}}}`)
	if got := r.header.Get("Content-Type"); r.status != 200 || got != "text/event-stream" {
		t.Fatalf("got %d %s", r.status, got)
	}
	if n := strings.Count(r.body, `"progressToken":"p"`); n != 3 {
		t.Errorf("%d progress notifications, want 3:\n%s", n, r.body)
	}
	if !strings.HasSuffix(strings.TrimSpace(r.body), "}") || strings.Count(r.body, `"id":"x"`) != 1 {
		t.Errorf("the response is not the last event:\n%s", r.body)
	}
}

// waitLog waits until the broker has logged want n times.
func (w *world) waitLog(want string, n int) {
	w.t.Helper()
	giveUp := time.Now().Add(time.Minute)
	for strings.Count(w.log.String(), want) < n {
		if time.Now().After(giveUp) {
			w.t.Fatalf("%q was not logged %d times", want, n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestReapedSessionWakes(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=1s")
	c := w.mustConnect("alice")
	w.mustCall(c, "get_my_user_info", nil, "alice")
	w.waitLog("FJMCP_EVENT=session_reaped", 1)
	var together sync.WaitGroup
	for range 5 {
		together.Go(func() { w.mustCall(c, "get_my_user_info", nil, "alice") })
	}
	together.Wait()
	if n := strings.Count(w.log.String(), "FJMCP_EVENT=session_started"); n != 2 {
		t.Errorf("%d units were started, want 2: the first and one to wake in", n)
	}
}

// A call that outlasts the idle time keeps its session awake.
func TestBusySessionIsNotReaped(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=1s")
	c := w.mustConnect("alice")
	w.mustCall(c, "slow", map[string]any{"ms": 3000}, "waited 3000 ms")
	if strings.Contains(w.log.String(), "session_reaped") {
		t.Error("the session was reaped under a call")
	}
}

func TestSessionOutlivesTheBroker(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		w.broker.Stop(signal)
		if err := w.broker.Restart(t.Context(), w.program()); err != nil {
			t.Fatal(err)
		}
		w.mustCall(c, "get_my_user_info", nil, "alice")
	}
}

func TestMaximumAgeEndsASession(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSION_MAX_AGE=2s")
	c := w.mustConnect("alice")
	token, id := w.token(c), c.ID()
	for {
		r := w.post(token, id, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		if r.status == 404 {
			return
		}
		if r.status != 200 {
			t.Fatalf("got %d %s", r.status, r.body)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Over the limit the longest idle session goes dormant, and wakes when used.
func TestLimitPerUser(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSIONS_PER_USER=2")
	first, second, third := w.mustConnect("alice"), w.mustConnect("alice"), w.mustConnect("alice")
	w.waitLog("FJMCP_EVENT=session_reaped", 1)
	for _, c := range []*loginclient.Client{first, second, third} {
		w.mustCall(c, "get_my_user_info", nil, "alice")
	}
}

func TestAllSessionsBusy(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_SESSIONS_PER_USER=1")
	c := w.mustConnect("alice")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan struct{})
	go func() {
		_, _ = c.CallTool(ctx, &mcp.CallToolParams{
			Meta: mcp.Meta{"progressToken": "p"}, Name: "slow", Arguments: map[string]any{"ms": 60_000, "steps": 600},
		})
	}()
	go func() {
		defer close(started)
		for !strings.Contains(w.sessions(), `"in_flight":1`) {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	<-started
	r := w.post(w.token(c), "", initialize)
	if r.status != 503 || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, "busy") {
		t.Fatalf("got %d %s", r.status, r.body)
	}
}

// No token of the forge stands where another user of the machine could read it.
func TestTokensStandNowhere(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	w.mustCall(c, "get_my_user_info", nil, "alice")
	found := false
	err := filepath.WalkDir(filepath.Join(w.dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || strings.Contains(string(b), "alice")
		if strings.Contains(string(b), "eyJ") { // how every JWT begins
			t.Errorf("%s holds a token in clear", path)
		}
		return err
	})
	if err != nil || !found {
		t.Fatalf("the state directory was not looked at: %v", err)
	}
	if strings.Contains(w.log.String(), "eyJ") {
		t.Error("a token stands in the log")
	}
	w.mustCall(c, "probe", nil, "{")
	for _, what := range []string{"environ", "cmdline"} {
		files, _ := filepath.Glob("/proc/[0-9]*/" + what)
		for _, f := range files {
			b, err := os.ReadFile(f)
			for _, token := range w.forge.Issued() {
				if err == nil && strings.Contains(string(b), token) {
					t.Errorf("%s holds a token", f)
				}
			}
		}
	}
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// Every supported revision is negotiated as asked.
func TestProtocolVersions(t *testing.T) {
	w := start(t, "everything")
	token := w.token(w.mustConnect("alice"))
	for _, v := range []string{"2025-03-26", "2025-06-18", "2025-11-25"} {
		r := w.post(token, "", strings.Replace(initialize, "2025-06-18", v, 1))
		var got struct {
			Result struct{ ProtocolVersion string }
		}
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || got.Result.ProtocolVersion != v {
			t.Errorf("%s: got %d %s", v, r.status, r.body)
		}
		if ping := w.post(token, r.header.Get("Mcp-Session-Id"), `{"jsonrpc":"2.0","id":"p","method":"ping"}`, "MCP-Protocol-Version", v); ping.status != 200 {
			t.Errorf("%s: ping gave %d %s", v, ping.status, ping.body)
		}
	}
}

// A revision that nobody knows, or that has no sessions, is answered with the latest that
// has, and the session works at that.
func TestUnknownProtocolVersion(t *testing.T) {
	for _, backend := range []string{"standin", "everything"} {
		w := start(t, backend)
		token := w.token(w.mustConnect("alice"))
		for _, v := range []string{"2099-12-31", "2026-07-28", "1.0", ""} {
			r := w.post(token, "", strings.Replace(initialize, "2025-06-18", v, 1))
			if r.status != 200 || !strings.Contains(r.body, `"protocolVersion":"2025-11-25"`) {
				t.Errorf("%s, %q: got %d %s", backend, v, r.status, r.body)
			}
			if ping := w.post(token, r.header.Get("Mcp-Session-Id"), `{"jsonrpc":"2.0","id":"p","method":"ping"}`, "MCP-Protocol-Version", "2025-11-25"); ping.status != 200 {
				t.Errorf("%s, %q: ping gave %d %s", backend, v, ping.status, ping.body)
			}
		}
	}
}

// A backend nobody here wrote, asking its client something in the midst of a call.
func TestEverythingServer(t *testing.T) {
	w := start(t, "everything")
	c := w.mustConnect("alice")
	n := 0
	for _, err := range c.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n < 5 {
		t.Errorf("%d tools", n)
	}
	w.mustCall(c, "test_simple_text", nil, "simple text response")
	if _, err := call(t.Context(), c, "test_error_handling", nil); err == nil || !strings.Contains(err.Error(), "intentionally returns an error") {
		t.Errorf("a tool error came as %v", err)
	}
	if _, err := call(t.Context(), c, "test_tool_with_progress", nil); err != nil {
		t.Error(err)
	}
}

// The real backend, where there is one.
func TestRealForgejoMCP(t *testing.T) {
	binary := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if binary == "" {
		t.Skip("SKIP: FJMCP_TEST_FORGEJO_MCP does not name a forgejo-mcp binary")
	}
	w := start(t, binary)
	for era, c := range map[string]*loginclient.Client{"2025-11-25": w.mustConnect("alice"), "2026-07-28": w.mustConnectModern("alice", nil)} {
		n := 0
		for _, err := range c.Tools(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n < 100 || c.InitializeResult().ProtocolVersion != era {
			t.Errorf("%s: %d tools in %s", era, n, c.InitializeResult().ProtocolVersion)
		}
		w.mustCall(c, "get_my_user_info", nil, "alice")
		w.mustCall(c, "list_my_repos", map[string]any{"page": 1, "limit": 10}, "alice")
		fmt.Fprintln(os.Stderr, "real forgejo-mcp,", era, "client:", n, "tools")
	}
	if got := w.ctl("sessions", "stop", "--user", "alice", "--yes"); got.status != 0 {
		t.Errorf("%+v", got)
	}
	w.until("the backends have ended", func() bool { return w.processes() == 0 })
	if log := w.log.String(); strings.Contains(log, " ERROR ") || strings.Contains(log, "goroutine ") {
		t.Error("the end of a session looks like a fault, see the log")
	}
}
