package stateless

import (
	"net/http/httptest"
	"testing"
)

func TestModern(t *testing.T) {
	for _, tc := range []struct {
		header, version, method string
		want                    bool
	}{
		{"", "", "tools/call", false},
		{"2025-11-25", "", "tools/call", false},
		{"2026-07-28", "", "tools/call", true},
		{"2099-01-01", "", "tools/call", true},
		{"1999-01-01", "", "tools/call", true},
		{"2026-07-28", "", "initialize", false},
		{"2026-07-28", "2026-07-28", "initialize", true},
		{"", "2026-07-28", "tools/call", true},
		{"2025-11-25", "2026-07-28", "tools/call", true},
		{"2026-07-28", "2025-11-25", "tools/call", true}, // they do not agree
		{"2025-11-25", "2025-11-25", "tools/call", false},
	} {
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Header.Set("Mcp-Method", "tools/call") // tells nothing
		if tc.header != "" {
			r.Header.Set("MCP-Protocol-Version", tc.header)
		}
		params := `{}`
		if tc.version != "" {
			params = `{"_meta":{"io.modelcontextprotocol/protocolVersion":"` + tc.version + `"}}`
		}
		m := parse(t, `{"jsonrpc":"2.0","id":1,"method":"`+tc.method+`","params":`+params+`}`)
		if got := Modern(r, m); got != tc.want {
			t.Errorf("%+v: got %v", tc, got)
		}
	}
}
