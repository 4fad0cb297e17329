package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// openModern sends a request whose answer must be an event stream.
func (w *world) openModern(token string, m modern) *events {
	w.t.Helper()
	return w.open("POST", token, "", m.body(), m.header()...)
}

// mustHear reads the next event, which must hold all of want and have no id, since
// nobody can come back to it.
func (e *events) mustHear(want ...string) {
	e.t.Helper()
	got, ok := e.next()
	for _, s := range want {
		if !ok || got.id != "" || !strings.Contains(got.data, s) {
			e.t.Fatalf("got %+v, want %s", got, s)
		}
	}
}

func listener(id, filter string) modern {
	return modern{id: id, method: "subscriptions/listen", params: `"notifications":` + filter}
}

func toolsChange(id string) modern {
	return modern{id: id, method: "tools/call", params: `"name":"test_trigger_tool_change"`}
}

// Everything on a listener's stream names its subscription, acknowledgement first,
// and the broker's end is told.
func TestListen(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend)
			token := w.token(w.mustConnect("alice"))
			stream := w.openModern(token, listener(`"l\u0031"`, `{"toolsListChanged":true}`))
			const tag = `"io.modelcontextprotocol/subscriptionId":"l\u0031"`
			stream.mustHear(`"method":"notifications/subscriptions/acknowledged"`, tag, `"notifications":{"toolsListChanged":true}`)
			w.modern(token, toolsChange("1"))
			stream.mustHear(`"method":"notifications/tools/list_changed"`, tag)
			var stopped sync.WaitGroup
			stopped.Go(func() { w.broker.Stop(syscall.SIGTERM) })
			stream.mustHear(`"id":"l\u0031"`, `"result":{`, `"resultType":"complete"`, tag)
			if got, ok := stream.next(); ok {
				t.Errorf("after the end came %+v", got)
			}
			stopped.Wait()
		})
	}
}

// Listeners hear what they asked for and nothing else, side by side.
func TestListenersAreApart(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	tools := w.openModern(token, listener("1", `{"toolsListChanged":true,"resourceSubscriptions":["test://watched-resource"]}`))
	tools.mustHear(`"toolsListChanged":true`, `"resourceSubscriptions":["test://watched-resource"]`, `"io.modelcontextprotocol/subscriptionId":1`)
	prompts := w.openModern(token, listener("1", `{"promptsListChanged":true,"toolsListChanged":false}`))
	prompts.mustHear(`"notifications":{"promptsListChanged":true}`)
	w.modern(token, toolsChange("2"))
	w.modern(token, modern{id: "3", method: "tools/call", params: `"name":"test_trigger_prompt_change"`})
	prompts.mustHear(`"method":"notifications/prompts/list_changed"`)
	heard := map[string]bool{}
	for len(heard) < 2 {
		e, ok := tools.next()
		if !ok || strings.Contains(e.data, "prompts/list_changed") {
			t.Fatalf("got %+v", e)
		}
		heard[fmt.Sprint(strings.Contains(e.data, "notifications/tools/list_changed"), strings.Contains(e.data, `"uri":"test://watched-resource"`))] = true
	}
}

func TestBadFilters(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	for _, params := range []string{``, `"notifications":null`, `"notifications":[]`, `"notifications":{"toolsListChanged":1}`, `"notifications":{"resourceSubscriptions":"x"}`, `"notifications":{"resourceSubscriptions":["` + strings.Repeat("x", 100_000) + `"]}`} {
		if r := w.modern(token, modern{id: "5", method: "subscriptions/listen", params: params}); r.status != 400 || !strings.Contains(r.body, `"id":5`) || !strings.Contains(r.body, "-32602") {
			t.Errorf("%.80s: got %d %s", params, r.status, r.body)
		}
	}
}

// Log messages come to those who ask for them, from the level they ask for.
func TestLogsOfOneRequest(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend)
			token := w.token(w.mustConnect("alice"))
			for _, tc := range []struct {
				level string
				want  bool
			}{{"", false}, {"error", false}, {"debug", true}, {"error", false}, {"info", true}, {"", false}} {
				m := modern{id: "1", method: "tools/call", params: `"name":"test_tool_with_logging"`}
				if tc.level != "" {
					m.meta = `,"io.modelcontextprotocol/logLevel":"` + tc.level + `"`
				}
				r := w.modern(token, m)
				if got := strings.Contains(r.body, "notifications/message"); r.status != 200 || got != tc.want || !strings.Contains(r.body, `"id":1`) {
					t.Errorf("from %q: got %d %s", tc.level, r.status, r.body)
				}
			}
		})
	}
}

// Closing the response cancels the request, before and after its first byte.
func TestClosingCancels(t *testing.T) {
	w := start(t, "standin")
	token := w.token(w.mustConnect("alice"))
	m := modern{id: "1", method: "tools/call", params: `"name":"slow","arguments":{"ms":600000,"steps":6000}`, meta: `,"progressToken":"p"`}
	stream := w.openModern(token, m)
	stream.mustHear(`"progressToken":"p"`)
	stream.cancel()
	w.waitLog("FJMCP_TOOL=slow FJMCP_OUTCOME=cancelled", 1)
	m.meta = ""
	left := w.send(token, m)
	w.waitCalls(1)
	left()
	w.waitLog("FJMCP_TOOL=slow FJMCP_OUTCOME=left", 1)
	w.waitCalls(0) // the backend has stopped as well
}

// send sends a request and leaves before its answer when leave is called.
func (w *world) send(token string, m modern) (leave func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", w.broker.URL+"/mcp", strings.NewReader(m.body()))
	if err != nil {
		w.t.Fatal(err)
	}
	for i, h := 0, append(m.header(), "Content-Type", "application/json", "Authorization", "Bearer "+token); i < len(h); i += 2 {
		r.Header.Set(h[i], h[i+1])
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := (&http.Client{Transport: w.transport}).Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	w.t.Cleanup(cancel)
	return func() { cancel(); <-gone }
}

// waitCalls waits until the sessions have n calls in flight.
func (w *world) waitCalls(n int) {
	w.t.Helper()
	giveUp := time.Now().Add(time.Minute)
	for {
		got := 0
		for _, part := range strings.Split(w.sessions(), `"in_flight":`)[1:] {
			var one int
			_, _ = fmt.Sscanf(part, "%d", &one)
			got += one
		}
		if got == n {
			return
		}
		if time.Now().After(giveUp) {
			w.t.Fatalf("%d calls are in flight, not %d: %s", got, n, w.sessions())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// In a session, subscriptions/listen is a method that its revision does not have, as
// any other such: alone, in a batch and over HTTP+SSE.
func TestListenInASession(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	const bare = `{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}`
	check := func(how, answer string) {
		t.Helper()
		if !strings.Contains(answer, `"id":7`) || !strings.Contains(answer, "-32601") || strings.Contains(answer, "-32000") {
			t.Errorf("%s: %s", how, answer)
		}
	}
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25"} {
		session := w.post(token, "", strings.Replace(initialize, "2025-06-18", version, 1)).header.Get("Mcp-Session-Id")
		for _, body := range []string{bare, strings.Replace(bare, "subscriptions/listen", "no/such/method", 1)} {
			if r := w.post(token, session, body); r.status != 200 {
				t.Errorf("%s: got %d %s", version, r.status, r.body)
			} else {
				check(version, r.body)
			}
		}
		if version == "2025-03-26" {
			r := w.post(token, session, `[`+bare+`,{"jsonrpc":"2.0","id":8,"method":"ping"}]`)
			check("in a batch", r.body)
			if !strings.Contains(r.body, `"id":8`) {
				t.Errorf("the rest of the batch is not answered: %s", r.body)
			}
		}
	}
	s := w.listen(token)
	s.initialize()
	s.post(bare)
	check("over HTTP+SSE", s.message(`"id":7`))
}
