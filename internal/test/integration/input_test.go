//lint:file-ignore SA1019 sampling and roots are deprecated, and part of the revisions served here

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The SDK's client answers what a backend asks for, whatever that speaks.
func TestInputRequired(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend)
			c := w.mustConnectModern("alice", &mcp.ClientOptions{
				Capabilities: &mcp.ClientCapabilities{RootsV2: &mcp.RootCapabilities{}},
				ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "carol", "ok": true, "confirm": true, "context": "x"}}, nil
				},
				CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
					return &mcp.CreateMessageResult{Role: "assistant", Model: "m", Content: &mcp.TextContent{Text: "an answer"}}, nil
				},
			})
			for tool, want := range map[string]string{
				"test_input_required_result_elicitation":     "carol",
				"test_input_required_result_sampling":        "an answer",
				"test_input_required_result_list_roots":      "",
				"test_input_required_result_multiple_inputs": "",
				"test_input_required_result_request_state":   "",
			} {
				w.mustCall(c, tool, nil, want)
			}
			p, err := c.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "test_input_required_result_prompt"})
			if err != nil || len(p.Messages) == 0 {
				t.Errorf("the prompt gave %v, %v", p, err)
			}
			if n := strings.Count(w.log.String(), "FJMCP_TOOL=test_input_required_result_elicitation FJMCP_OUTCOME=ok"); backend == "held" && n != 1 {
				t.Errorf("a call that asked once stands %d times in the audit", n)
			}
		})
	}
}

// asking is a call of the held backend that asks for a name.
var asking = modern{id: "1", method: "tools/call", params: `"name":"test_input_required_result_elicitation","arguments":{}`, capabilities: `{"elicitation":{}}`}

// inputRequired is a result that asks.
type inputRequired struct {
	ResultType    string
	InputRequests map[string]struct {
		Method string
		Params json.RawMessage
	}
	RequestState string
}

// mustAsk sends a call that asks for one thing, and returns its key and the state.
func (w *world) mustAsk(token string, m modern) (key, state string) {
	w.t.Helper()
	got := w.asks(w.modern(token, m))
	if len(got.InputRequests) != 1 {
		w.t.Fatalf("asked for %v", got.InputRequests)
	}
	for key = range got.InputRequests {
	}
	return key, got.RequestState
}

func (w *world) asks(r response) inputRequired {
	w.t.Helper()
	var got struct{ Result inputRequired }
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != 200 || got.Result.ResultType != "input_required" || got.Result.RequestState == "" {
		w.t.Fatalf("got %d %s", r.status, r.body)
	}
	return got.Result
}

// answered is m with an answer to key.
func answered(m modern, id, key, name, state string) modern {
	m.id = id
	m.params += `,"inputResponses":{"` + key + `":{"action":"accept","content":{"name":"` + name + `"}},"other":{}},"requestState":"` + state + `"`
	return m
}

// A state is good once, for whom and for what it was given out.
func TestRequestState(t *testing.T) {
	w := start(t, "held")
	alice := w.mustConnect("alice")
	token := w.token(alice)
	key, state := w.mustAsk(token, asking)
	retry := answered(asking, `"again"`, key, "carol", state)
	for name, bad := range map[string]modern{
		"tampered":       answered(asking, "2", key, "carol", state+"-TAMPERED"),
		"shortened":      answered(asking, "2", key, "carol", state[:len(state)-4]),
		"empty":          answered(asking, "2", key, "carol", ""),
		"other argument": {id: "2", method: "tools/call", params: strings.Replace(retry.params, `"arguments":{}`, `"arguments":{"x":1}`, 1), capabilities: asking.capabilities},
		"other tool":     {id: "2", method: "tools/call", params: strings.Replace(retry.params, "_elicitation", "_sampling", 1), capabilities: asking.capabilities},
		"no text":        {id: "2", method: "tools/call", params: asking.params + `,"requestState":{}`, capabilities: asking.capabilities},
	} {
		if r := w.modern(token, bad); r.status != 400 || !strings.Contains(r.body, `"id":2`) || !strings.Contains(r.body, "-32602") {
			t.Errorf("%s: got %d %s", name, r.status, r.body)
		}
	}
	for name, other := range map[string]string{"another user": "bob", "another client of the user": "alice"} {
		if r := w.modern(w.token(w.mustConnect(other)), retry); r.status != 400 || !strings.Contains(r.body, "-32602") {
			t.Errorf("%s: got %d %s", name, r.status, r.body)
		}
	}
	if r := w.modern(token, retry); r.status != 200 || !strings.Contains(r.body, `"id":"again"`) || !strings.Contains(r.body, "carol") || !strings.Contains(r.body, `"complete"`) {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := w.modern(token, retry); r.status != 400 || !strings.Contains(r.body, "-32602") {
		t.Errorf("a second time: got %d %s", r.status, r.body)
	}
	if strings.Contains(w.log.String(), state) {
		t.Error("the state stands in the log")
	}
}

// What is missing, or is no answer, is asked for again.
func TestMissingInput(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	key, state := w.mustAsk(token, asking)
	for _, responses := range []string{`{}`, `null`, `{"` + key + `":7}`, `[]`} {
		again := asking
		again.params += `,"inputResponses":` + responses + `,"requestState":"` + state + `"`
		k, s := w.mustAsk(token, again)
		if k != key || s == state {
			t.Errorf("%s: asked for %s after %s, the state is the same: %v", responses, k, key, s == state)
		}
		state = s
	}
	if r := w.modern(token, answered(asking, "9", key, "carol", state)); !strings.Contains(r.body, "carol") {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

// All that is asked at once is handed out at once, and part of it may be answered.
func TestSeveralInputs(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	m := modern{id: "1", method: "tools/call", params: `"name":"test_input_required_result_multiple_inputs","arguments":{}`, capabilities: `{"elicitation":{},"sampling":{},"roots":{}}`}
	got := w.asks(w.modern(token, m))
	if len(got.InputRequests) != 3 {
		t.Fatalf("asked for %v", got.InputRequests)
	}
	results := map[string]string{
		"elicitation/create":     `{"action":"accept","content":{"name":"carol","ok":true}}`,
		"sampling/createMessage": `{"role":"assistant","model":"m","content":{"type":"text","text":"an answer"}}`,
		"roots/list":             `{"roots":[]}`,
	}
	for left := 3; left > 0; left-- {
		var key string
		for key = range got.InputRequests {
		}
		next := m
		next.params += `,"inputResponses":{"` + key + `":` + results[got.InputRequests[key].Method] + `},"requestState":"` + got.RequestState + `"`
		r := w.modern(token, next)
		if left == 1 {
			if !strings.Contains(r.body, `"complete"`) || strings.Contains(r.body, `"isError":true`) {
				t.Errorf("got %d %s", r.status, r.body)
			}
			return
		}
		got = w.asks(r)
		if _, again := got.InputRequests[key]; again || len(got.InputRequests) != left-1 {
			t.Fatalf("asked for %v after %s", got.InputRequests, key)
		}
	}
}

// Two clients with one login call at once, under one id. Nobody gets the other's.
func TestTwoParkedCallsAreApart(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	if r := w.modern(token, answered(asking, "1", "x", "x", "")); r.status != 400 { // the session is there
		t.Fatalf("got %d %s", r.status, r.body)
	}
	key, state := w.mustAsk(token, asking) // the backend is known to ask
	key2, state2 := w.mustAsk(token, asking)
	var both sync.WaitGroup
	for name, c := range map[string][2]string{"carol": {key, state}, "dave": {key2, state2}} {
		both.Go(func() {
			r := w.modern(token, answered(asking, "1", c[0], name, c[1]))
			if r.status != 200 || !strings.Contains(r.body, name) {
				t.Errorf("%s got %d %s", name, r.status, r.body)
			}
		})
	}
	both.Wait()
}

// A client that cannot do what the backend asks is told so, and the call ends.
func TestMissingCapability(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	for capabilities, want := range map[string]bool{`{}`: false, `{"sampling":{}}`: false, `{"elicitation":{"url":{}}}`: false, `{"elicitation":{"form":{}}}`: true} {
		m := asking
		m.capabilities = capabilities
		r := w.modern(token, m)
		if want {
			w.asks(r)
			continue
		}
		if r.status != 400 || !strings.Contains(r.body, `"code":-32021`) || !strings.Contains(r.body, `"requiredCapabilities":{"elicitation":{"form":{}}}`) {
			t.Errorf("%s: got %d %s", capabilities, r.status, r.body)
		}
	}
	w.waitLog("FJMCP_OUTCOME=incapable", 3)
}

// A session keeps so many calls that wait for their clients, and no more.
func TestTooManyParkedCalls(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	var key, state string
	for range 20 {
		key, state = w.mustAsk(token, asking)
	}
	if r := w.modern(token, asking); r.status != 200 || !strings.Contains(r.body, "wait for their clients") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := w.modern(token, answered(asking, "2", key, "carol", state)); !strings.Contains(r.body, "carol") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	w.mustAsk(token, asking)
}

// A retry whose backend has died meanwhile is told, and is not run again.
func TestParkedCallDiesWithItsUnit(t *testing.T) {
	w := start(t, "held")
	token := w.token(w.mustConnect("alice"))
	key, state := w.mustAsk(token, asking)
	w.killBackends()
	r := w.modern(token, answered(asking, "2", key, "carol", state))
	if r.status != 200 || !strings.Contains(r.body, `"error"`) || !strings.Contains(r.body, `"id":2`) {
		t.Errorf("got %d %s", r.status, r.body)
	}
	w.mustAsk(token, asking)
}

// killBackends ends what the broker's sessions run.
func (w *world) killBackends() {
	w.t.Helper()
	killed := 0
	for _, session := range children(w.broker.Pid()) {
		for _, backend := range children(session) {
			if err := syscall.Kill(backend, syscall.SIGKILL); err != nil {
				w.t.Fatal(err)
			}
			killed++
		}
	}
	if killed == 0 {
		w.t.Fatal("no backend runs")
	}
}

// children lists the processes that pid has started.
func children(pid int) (all []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f) // a thread that has ended has none
		for _, field := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(field); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}
