package session_test

import (
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// It is known of each call, when its answer is there, what its backend asked the forge
// about.
func TestCallsAreKnownByWhatTheyTouch(t *testing.T) {
	w := start(t, "standin")
	s := w.begin(w.access)
	for range 20 { // a report that came behind the answer would be missed now and then
		c, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_repo_issues","arguments":{"owner":"alice","repo":"none"}}}`))
		w.must(err)
		if e, err := c.Next(t.Context()); err != nil || !e.Final || e.Result == 0 {
			t.Fatalf("got %+v, %v", e, err)
		}
		if got := c.Touched(); got != (relay.Touched{Sure: "alice/none"}) {
			t.Fatalf("got %+v", got)
		}
	}
}
