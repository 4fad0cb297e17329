package stateless

import (
	"runtime"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// Annotations are those of the session's last list; its pages belong together.
func TestToolsAreRemembered(t *testing.T) {
	var all toolParams
	one, other := new(session.Session), new(session.Session)
	done := make(chan struct{})
	list := func(s *session.Session, params, tools string) {
		all.Remember(s, done, parse(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":`+params+`}`), parse(t, `{"jsonrpc":"2.0","id":1,"result":{"tools":[`+tools+`]}}`))
	}
	marked := func(name, header string) string {
		return `{"name":"` + name + `","inputSchema":{"properties":{"p":{"type":"string","x-mcp-header":"` + header + `"}}}}`
	}
	want := func(s *session.Session, tool, header string) {
		t.Helper()
		got := all.Of(s, parse(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`"}}`))
		if header == "" && len(got) > 0 || header != "" && (len(got) != 1 || got[0].Header != header) {
			t.Errorf("%s has %v, want %q", tool, got, header)
		}
	}
	list(other, `{}`, `{"name":"a","inputSchema":{}}`)
	list(one, `{}`, marked("a", "A"))
	list(one, `{"cursor":"2"}`, marked("b", "B"))
	want(one, "a", "Mcp-Param-A")
	want(one, "b", "Mcp-Param-B")
	want(other, "a", "")
	all.Remember(one, done, parse(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), parse(t, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}`))
	want(one, "a", "Mcp-Param-A")
	list(one, `{}`, marked("a", "C"))
	want(one, "a", "Mcp-Param-C")
	want(one, "b", "")
	list(one, `{}`, ``)
	want(one, "a", "")
	close(done)
	for {
		all.mu.Lock()
		left := len(all.by)
		all.mu.Unlock()
		if left == 0 {
			return
		}
		runtime.Gosched()
	}
}
