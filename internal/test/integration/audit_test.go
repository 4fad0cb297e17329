package integration

import (
	"regexp"
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
