package integration

import (
	"strings"
	"testing"
)

// Suspending a user at Forgejo ends what runs in the user's name: Forgejo itself
// goes on refreshing such a user's tokens, and tells only whoever calls its API.
func TestSuspendedUser(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	other := w.begin(token)
	session := w.begin(token)
	bob := w.mustConnect("bob")
	w.login("alice") // for whose first session a unit waits
	w.until("all backends run", func() bool { return w.processes() == 5 })
	if err := w.forge.Suspend("alice", true); err != nil {
		t.Fatal(err)
	}
	if r := w.tool(token, session, "get_my_user_info", map[string]any{}); r.status != 401 {
		t.Errorf("the first call gets %d %s, want the challenge", r.status, r.body)
	}
	w.waitLog("FJMCP_EVENT=session_stopped", 3)
	w.until("alice's backends are gone", func() bool { return w.processes() == 1 })
	for _, id := range []string{session, other, ""} { // without one, a new session
		r := w.post(token, id, initialize)
		if r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), "resource_metadata=") {
			t.Errorf("the suspended user's client gets %d %s, want the challenge", r.status, r.body)
		}
	}
	w.mustCall(bob, "get_my_user_info", nil, "bob")
}
