package session_test

import (
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// Whatever client and backend say, they agree to a revision that the broker knows.
func TestNegotiate(t *testing.T) {
	for _, tc := range []struct{ wanted, offered, answered, agreed string }{
		{`"2025-06-18"`, `"2025-06-18"`, `"2025-03-26"`, `"2025-03-26"`},
		{`"2025-06-18"`, `"2025-06-18"`, `"2099-12-31"`, `"2025-06-18"`},
		{`"2099-12-31"`, `"2025-11-25"`, `"2025-11-25"`, `"2025-11-25"`},
		{`"2099-12-31"`, `"2025-11-25"`, `"2099-12-31"`, `"2025-11-25"`},
		{`"2026-07-28"`, `"2025-11-25"`, `"2026-07-28"`, `"2025-11-25"`}, // which has no sessions
		{`""`, `"2025-11-25"`, `""`, `"2025-11-25"`},
		{`1`, `"2025-11-25"`, `null`, `"2025-11-25"`},
	} {
		initialize, answer := session.Negotiate(
			message(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":`+tc.wanted+`,"x":1.0}}`),
			message(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":`+tc.answered+`,"x":1.0}}`))
		if got := string(initialize.Raw); got != `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":`+tc.offered+`,"x":1.0}}` {
			t.Errorf("%+v: offered %s", tc, got)
		}
		if got := string(answer.Raw); got != `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":`+tc.agreed+`,"x":1.0}}` {
			t.Errorf("%+v: agreed %s", tc, got)
		}
	}
}
