package integration

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Events tell who it was in words that stay and that nobody else has: names may change,
// and clients may be called alike.
func TestEventsTellWhoItWas(t *testing.T) {
	w := start(t, "standin")
	alice := w.mustConnect("alice")
	w.mustCall(alice, "get_my_user_info", nil, `"login":"alice"`)
	alice.Close()
	bob := w.mustConnect("bob")
	w.mustCall(bob, "get_my_user_info", nil, `"login":"bob"`)
	w.waitLog("FJMCP_EVENT=tool_call FJMCP_USER=bob", 1)

	ids := map[string]string{} // by user and field
	for _, kind := range []string{"login", "token_issued", "session_started", "tool_call"} {
		for _, user := range []string{"alice", "bob"} {
			event := regexp.MustCompile(`(?m)^.* FJMCP_EVENT=`+kind+` FJMCP_USER=`+user+` .*$`).FindString(w.log.String()) + " "
			for field, pattern := range map[string]string{"USER_ID": `\d+`, "CLIENT_ID": `[a-z0-9]{8,}`, "READ_ONLY": "no", "ADDRESS": `127\.0\.0\.1`} {
				m := regexp.MustCompile(` FJMCP_` + field + `=(` + pattern + `) `).FindStringSubmatch(event)
				if m == nil {
					t.Errorf("%s has no %s like %s: %s", kind, field, pattern, event)
					continue
				}
				if before := ids[user+field]; before != "" && before != m[1] {
					t.Errorf("%s of %s was %s, and is %s in %s", field, user, before, m[1], kind)
				}
				ids[user+field] = m[1]
			}
		}
	}
	for _, field := range []string{"USER_ID", "CLIENT_ID"} {
		if ids["alice"+field] == ids["bob"+field] {
			t.Errorf("%s does not tell users or their clients apart: %v", field, ids)
		}
	}
}

// Where nobody takes events any more, calls go on until memory for them runs out. Then
// they are refused in the words of each transport, where that is set, and nothing else is.
func TestNoAuditNoCalls(t *testing.T) {
	for _, required := range []string{"on", "off"} {
		t.Run(required, func(t *testing.T) { noAudit(t, required) })
	}
}

// saysMute: fjmcpctl status names the cause and the cure.
func saysMute(w *world, required string) bool {
	status := w.ctl("status").out
	cause := map[string]string{"on": "calls are refused", "off": "events cannot be written"}[required]
	return strings.Contains(status, cause) && strings.Contains(status, "have the broker's standard error read")
}

// oldSession begins a session of the one revision that has batches.
func (w *world) oldSession(token string) string {
	w.t.Helper()
	id := w.post(token, "", strings.Replace(initialize, "2025-06-18", "2025-03-26", 1)).header.Get("Mcp-Session-Id")
	w.post(token, id, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return id
}

// batch makes 90 calls at once, of 100 that a session may have in flight.
func (w *world) batch(token, session string) response {
	w.t.Helper()
	var calls []string
	for i := range 90 {
		calls = append(calls, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s"}}`, i, strings.Repeat("x", 256)))
	}
	return w.post(token, session, "["+strings.Join(calls, ",")+"]")
}

func noAudit(t *testing.T, required string) {
	events, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	w := startLogging(t, stderr, "", "standin", "FJMCP_BROKER_CALLS_PER_MINUTE=0", "FJMCP_BROKER_AUDIT_REQUIRED="+required)
	token := w.token(w.mustConnect("alice"))
	old := w.oldSession(token)
	events.Close()

	const refusal = `"message":"this server takes no calls while it cannot write its audit`
	refused := false
	for range 120 { // 10,800 events of more than 400 bytes
		r := w.batch(token, old)
		if refused = strings.Contains(r.body, refusal); refused {
			break
		}
		if r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if refused != (required == "on") {
		t.Fatalf("refused: %v", refused)
	}
	const call = `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"get_my_user_info"}}`
	r := w.post(token, old, call)
	// What health knows may be a second old.
	w.until("status of the mute audit", func() bool { return saysMute(w, required) })
	if ready := w.doAt("GET", "/readyz", "", ""); ready.status != map[string]int{"on": 503, "off": 200}[required] {
		t.Errorf("/readyz: %d %s", ready.status, ready.body)
	}
	if required == "off" {
		if r.status != 200 || !strings.Contains(r.body, "alice") {
			t.Errorf("%d %s", r.status, r.body)
		}
		return
	}
	for name, r := range map[string]response{"a session's": r, "nobody's": w.post(token, "", call)} {
		if r.status != 503 || r.header.Get("Retry-After") != "30" || !strings.HasPrefix(r.body, `{"jsonrpc":"2.0","id":5,"error":{"code":-32000,`+refusal) {
			t.Errorf("%s: %d %v %s", name, r.status, r.header, r.body)
		}
	}
	if r := w.post(token, old, `{"jsonrpc":"2.0","id":6,"method":"tools/list"}`); r.status != 200 || !strings.Contains(r.body, "get_my_user_info") {
		t.Errorf("tools/list: %d %.300s", r.status, r.body)
	}
	select {
	case err := <-w.broker.Ended:
		t.Errorf("the broker ended: %v", err)
	default:
	}
}
