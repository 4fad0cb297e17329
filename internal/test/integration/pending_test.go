package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// slowly is a tools/call that takes ms and reports progress each 20 ms.
func slowly(id string, ms int, more string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"tools/call","params":{"name":"slow","arguments":{"ms":%d,"steps":%d%s},"_meta":{"progressToken":%q}}}`, id, ms, ms/20, more, id)
}

// rest returns the data of the events up to the stream's end.
func (e *events) rest() (all []string) {
	e.t.Helper()
	for {
		got, ok := e.next()
		if !ok {
			return all
		}
		all = append(all, got.data)
	}
}

// answers returns the responses among messages by their raw ids; a second one to
// the same id is an error.
func answers(t *testing.T, messages []string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, message := range messages {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		if err := json.Unmarshal([]byte(message), &m); err != nil || m.Method != "" {
			continue
		}
		if found[string(m.ID)] != "" {
			t.Errorf("%s was answered twice: %s", m.ID, message)
		}
		found[string(m.ID)] = message
	}
	return found
}

// When the backend ends, each pending call gets one error that says so, and the
// last thing on its stream is that.
func TestEachPendingCallHearsOfTheEnd(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	old := w.post(token, "", strings.Replace(initialize, "2025-06-18", "2025-03-26", 1)).header.Get("Mcp-Session-Id")
	var streams []*events
	for i := range 3 {
		streams = append(streams, w.open("POST", token, old, slowly(fmt.Sprint("s", i), 60_000, "")))
	}
	streams = append(streams, w.open("POST", token, old, "["+slowly("b0", 60_000, "")+","+slowly("b1", 60_000, "")+"]"))
	for _, s := range streams {
		if e, _ := s.next(); !strings.Contains(e.data, "notifications/progress") {
			t.Fatalf("got %+v", e)
		}
	}
	if r := w.post(token, old, `{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"crash","arguments":{}}}`); r.status != 200 || !strings.Contains(r.body, "ended unexpectedly") {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	var all []string
	for _, s := range streams {
		all = append(all, s.rest()...)
	}
	got := answers(t, all)
	for _, id := range []string{`"s0"`, `"s1"`, `"s2"`, `"b0"`, `"b1"`} {
		if !strings.Contains(got[id], `"error"`) || !strings.Contains(got[id], "ended unexpectedly") {
			t.Errorf("%s: %s", id, got[id])
		}
	}
	if len(got) != 5 {
		t.Errorf("%d responses", len(got))
	}
	w.waitLog("FJMCP_EVENT=session_failed", 1)
	w.mustCall(c, "get_my_user_info", nil, "alice")
}

// A login that dies while an answer is already on its way is told there.
func TestLoginDiesUnderAStream(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	s := w.open("POST", token, c.ID(), slowly("x", 1000, `,"ask":true`))
	s.next()
	if _, err := w.forge.RevokeGrants("alice"); err != nil {
		t.Fatal(err)
	}
	got := answers(t, s.rest())[`"x"`]
	if !strings.Contains(got, `"error"`) || !strings.Contains(got, "connect again") {
		t.Fatalf("got %s", got)
	}
	if r := w.post(token, c.ID(), whoAmI); r.status != 401 {
		t.Fatalf("then %d %s", r.status, r.body)
	}
}

// Over the limit of a session a request is refused, with when to come again; in
// HTTP+SSE on the stream.
func TestTooManyCalls(t *testing.T) {
	const most = 100
	w := start(t, "standin")
	token := w.token(w.connectSSE("alice", nil))
	many := make([]string, most)
	for i := range many {
		many[i] = slowly(fmt.Sprint(i), 60_000, "")
	}
	old := w.post(token, "", strings.Replace(initialize, "2025-06-18", "2025-03-26", 1)).header.Get("Mcp-Session-Id")
	w.open("POST", token, old, "["+strings.Join(many, ",")+"]").next()
	r := w.post(token, old, whoAmI)
	if r.status != 429 || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, `"id":"who"`) || !strings.Contains(r.body, "too many calls") {
		t.Errorf("got %d %v %s", r.status, r.header, r.body)
	}

	s := w.listen(token)
	s.initialize()
	for i := range most {
		s.post(slowly(fmt.Sprint(i), 60_000, ""))
	}
	s.post(whoAmI)
	for {
		e, ok := s.next()
		if !ok || strings.Contains(e.data, "too many calls") && strings.Contains(e.data, `"id":"who"`) {
			break
		}
		if answers(t, []string{e.data})[`"who"`] != "" {
			t.Fatalf("got %s", e.data)
		}
	}
}

// Progress extends the time for a request, but not for ever.
func TestProgressExtendsTheTimeoutTenfold(t *testing.T) {
	w := start(t, "standin", "FJMCP_BROKER_REQUEST_TIMEOUT=1s")
	c := w.mustConnect("alice")
	s := w.open("POST", w.token(c), c.ID(), slowly("x", 120_000, ""))
	all := s.rest()
	if got := answers(t, all)[`"x"`]; !strings.Contains(got, "did not answer in time") || len(all) < 20 {
		t.Errorf("after %d messages: %s", len(all), got)
	}
	for !strings.Contains(w.sessions(), `"in_flight":0`) { // the backend was told
		time.Sleep(20 * time.Millisecond)
	}
}
