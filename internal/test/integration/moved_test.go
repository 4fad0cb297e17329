package integration

import (
	"strings"
	"syscall"
	"testing"
)

// A forge has moved to another URL, as docs/incidents.md says: logins continue there,
// until a user logs in with one more client.
func TestForgeMoves(t *testing.T) {
	w := start(t, "standin")
	former := w.mustConnect("alice")
	w.mustCall(former, "get_my_user_info", nil, "alice")
	w.broker.Setenv("FJMCP_BROKER_FORGEJO_URL", strings.Replace(w.forge.URL, "forgejo.", "moved.", 1))
	w.broker.Stop(syscall.SIGTERM)
	if err := w.broker.Restart(t.Context(), w.program()); err != nil {
		t.Fatal(err)
	}
	w.mustCall(former, "get_my_user_info", nil, "alice")
	w.forge.ExpireAccessTokens()
	w.mustCall(former, "get_my_user_info", nil, "alice")

	next := w.mustConnect("alice")
	w.forge.ExpireAccessTokens()
	if said, err := call(t.Context(), former, "get_my_user_info", nil); err == nil {
		t.Errorf("the former login outlived the next: %s", said)
	}
	w.mustCall(next, "get_my_user_info", nil, "alice")
}
