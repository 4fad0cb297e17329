package integration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// transports are the ways by which alice's requests come: of each, a request by its
// method and params gives what it is answered with.
func (w *world) transports(user string) map[string]func(method, params string) string {
	w.t.Helper()
	token := w.token(w.mustConnect(user))
	plain := func(method, params string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":"r","method":%q,"params":{%s}}`, method, params)
	}
	post := func(session, body string, header ...string) string {
		r := w.post(token, session, body, header...)
		if r.status != 200 {
			w.t.Errorf("%s was answered with status %d", body, r.status)
		}
		return r.body
	}
	session := w.begin(token)
	old := w.post(token, "", strings.Replace(initialize, "2025-06-18", "2025-03-26", 1)).header.Get("Mcp-Session-Id")
	stream := w.listen(token)
	stream.initialize()
	return map[string]func(method, params string) string{
		"in a session":      func(method, params string) string { return post(session, plain(method, params)) },
		"in a batch":        func(method, params string) string { return post(old, "["+plain(method, params)+"]") },
		"without a session": func(method, params string) string { return post("", plain(method, params)) },
		"of 2026-07-28": func(method, params string) string {
			m := modern{id: `"r"`, method: method, params: params}
			return post("", m.body(), m.header()...)
		},
		"over HTTP+SSE": func(method, params string) string {
			stream.post(plain(method, params))
			return stream.message(`"id":"r"`)
		},
	}
}

const (
	toolUse = `"name":"test_simple_text","arguments":{}`
	tooMany = "This was not carried out: this server allows each user "
)

// What one user calls too often is refused in each transport, in words for the model, and
// without the signs of a connection or a login that is over. Others are not touched, and
// the audit has it once.
func TestCallsOfAUserAreLimited(t *testing.T) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend, "FJMCP_BROKER_CALLS_PER_MINUTE=2")
			ways := w.transports("alice")
			for how, ask := range ways {
				var answer string
				for i := 0; !strings.Contains(answer, tooMany); i++ { // a slow machine may have given one back
					if answer = ask("tools/call", toolUse); i == 5 {
						t.Fatalf("%s: not refused: %s", how, answer)
					}
				}
				for _, want := range []string{`"id":"r"`, `"isError":true`, `"type":"text"`, "2 calls a minute"} {
					if !strings.Contains(answer, want) {
						t.Errorf("%s: want %s in %s", how, want, answer)
					}
				}
				if how == "of 2026-07-28" && !strings.Contains(answer, `"resultType":"complete"`) {
					t.Errorf("no result of this revision: %s", answer)
				}
				for method, params := range map[string]string{"resources/read": `"uri":"test://static-text"`, "prompts/get": `"name":"test_simple_prompt"`} {
					if answer := ask(method, params); !strings.Contains(answer, `"error":{"code":-32000,"message":"`+tooMany) {
						t.Errorf("%s: %s was answered with %s", how, method, answer)
					}
				}
				if answer := ask("tools/list", ""); !strings.Contains(answer, "test_simple_text") {
					t.Errorf("%s: what calls nothing is refused, too: %s", how, answer)
				}
			}
			w.mustCall(w.mustConnect("bob"), "test_simple_text", nil, "simple text response")
			limited := regexp.MustCompile(`.*FJMCP_EVENT=rate_limited.*`).FindAllString(w.log.String(), -1)
			if len(limited) != 1 {
				t.Fatalf("%d events: %q", len(limited), limited)
			}
			for _, want := range []string{"FJMCP_OUTCOME=calls", "FJMCP_USER=alice", "FJMCP_USER_ID=", "FJMCP_CLIENT_ID=", "FJMCP_SESSION=", "FJMCP_TOOL=test_simple_text", `FJMCP_DETAIL="more than 2 calls a minute"`} {
				if !strings.Contains(limited[0], want) {
					t.Errorf("want %s in %s", want, limited[0])
				}
			}
			for _, line := range regexp.MustCompile(`.*FJMCP_EVENT=(tool_call|resource_read|prompt_get).*`).FindAllString(w.log.String(), -1) {
				if !strings.Contains(line, "FJMCP_OUTCOME=ok") {
					t.Errorf("a refused call has an event of its own: %s", line)
				}
			}
		})
	}
}

// After the time that the answer names, a call passes.
func TestCallsPassAfterTheTimeTold(t *testing.T) {
	w := start(t, "everything", "FJMCP_BROKER_CALLS_PER_MINUTE=20")
	ask := w.transports("alice")["in a session"]
	var wait []string
	for i := 0; wait == nil; i++ {
		wait = regexp.MustCompile(`Try again in (\d+) second`).FindStringSubmatch(ask("tools/call", toolUse))
		switch {
		case wait != nil && i < 20:
			t.Fatalf("only %d calls passed", i)
		case wait == nil && i == 500:
			t.Fatal("nothing is refused")
		}
	}
	seconds, _ := strconv.Atoi(wait[1])
	if seconds < 1 || seconds > 3 {
		t.Errorf("told to wait %d s, where one call becomes free each 3 s", seconds)
	}
	time.Sleep(time.Duration(seconds) * time.Second)
	var r struct{ Result struct{ IsError bool } }
	if answer := ask("tools/call", toolUse); json.Unmarshal([]byte(answer), &r) != nil || r.Result.IsError || !strings.Contains(answer, "simple text") {
		t.Errorf("after %d s a call is answered with %s", seconds, answer)
	}
}

func TestCallsAreNotLimitedWithout(t *testing.T) {
	w := start(t, "everything", "FJMCP_BROKER_CALLS_PER_MINUTE=0")
	ask := w.transports("alice")["in a session"]
	for range 50 {
		if answer := ask("tools/call", toolUse); strings.Contains(answer, tooMany) {
			t.Fatal(answer)
		}
	}
}
