package stateless

import (
	"errors"
	"net/http"
	"runtime"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestCheck(t *testing.T) {
	const (
		call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
		list = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
		read = `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///é","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
		odd  = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"=?base64?YQ==?=","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
	)
	for _, tc := range []struct {
		name, body string
		header     http.Header
		want       bool
	}{
		{"all there", call, headers("MCP-Protocol-Version", "2026-07-28", "mcp-method", "tools/call", "MCP-NAME", "a"), true},
		{"no name needed", list, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list"), true},
		{"a name nobody asked for", list, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list", "Mcp-Name", "a"), true},
		{"no version", list, headers("Mcp-Method", "tools/list"), false},
		{"empty version", list, headers("MCP-Protocol-Version", "", "Mcp-Method", "tools/list"), false},
		{"another version", list, headers("MCP-Protocol-Version", "2025-11-25", "Mcp-Method", "tools/list"), false},
		{"no method", list, headers("MCP-Protocol-Version", "2026-07-28"), false},
		{"another method", list, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call"), false},
		{"method in another case", list, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "TOOLS/LIST"), false},
		{"method twice", list, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list", "Mcp-Method", "tools/call"), false},
		{"method in Base64", list, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "=?base64?dG9vbHMvbGlzdA==?="), false},
		{"no name", call, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call"), false},
		{"another name", call, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "b"), false},
		{"name in Base64", call, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?YQ==?="), true},
		{"another name in Base64", call, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?Yg==?="), false},
		{"Base64 without padding", call, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?YQ?="), false},
		{"Base64 with stray bits", call, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?YR==?="), false},
		{"URI in Base64", read, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "resources/read", "Mcp-Name", "=?base64?ZmlsZTovLy/DqQ==?="), true},
		{"URI as it is", read, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "resources/read", "Mcp-Name", "file:///é"), false},
		{"a name like the marker, coded", odd, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?PT9iYXNlNjQ/WVE9PT89?="), true},
		{"a name like the marker, as it is", odd, headers("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?YQ==?="), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := parse(t, tc.body)
			err := errors.Join(checkVersionHeader(tc.header, m.ParamString("_meta", mcp.MetaProtocolVersion)), checkHeaders(tc.header, m))
			if (err == nil) != tc.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestParams(t *testing.T) {
	result := []byte(`{"tools":[
		{"name":"flat","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region","default":{"x-mcp-header":"no"}},"other":{"type":"string"}}}},
		{"name":"deep","inputSchema":{"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"A-B"}}},"x-mcp-header":{"type":"boolean","x-mcp-header":"c"}}}},
		{"name":"none","inputSchema":{"type":"object"}},
		{"name":"number","inputSchema":{"properties":{"n":{"type":"number","x-mcp-header":"N"}}}},
		{"name":"twice","inputSchema":{"properties":{"n":{"type":"string","x-mcp-header":"N"},"m":{"type":"string","x-mcp-header":"n"}}}},
		{"name":"items","inputSchema":{"properties":{"n":{"type":"array","items":{"type":"string","x-mcp-header":"N"}},"m":{"type":"string","x-mcp-header":"M"}}}},
		{"name":"any","inputSchema":{"anyOf":[{"properties":{"n":{"type":"string","x-mcp-header":"N"}}}]}},
		{"name":"root","inputSchema":{"type":"string","x-mcp-header":"N"}},
		{"name":"token","inputSchema":{"properties":{"n":{"type":"string","x-mcp-header":"a b"}}}},
		{"name":"empty","inputSchema":{"properties":{"n":{"type":"string","x-mcp-header":""}}}},
		{"name":"no text","inputSchema":{"properties":{"n":{"type":"string","x-mcp-header":1}}}}
	]}`)
	got := headerParams(result)
	if len(got) != 2 || len(got["flat"]) != 1 || len(got["deep"]) != 2 {
		t.Fatalf("got %v", got)
	}
	if p := got["flat"][0]; p.Header != "Mcp-Param-Region" || len(p.Path) != 1 || p.Path[0] != "region" {
		t.Errorf("got %+v", p)
	}
	if len(headerParams([]byte(`{"tools":"x-mcp-header"}`))) != 0 {
		t.Error("annotations where there are no tools")
	}
}

func TestCheckParams(t *testing.T) {
	want := []headerParam{{"Mcp-Param-Region", []string{"region"}}, {"Mcp-Param-N", []string{"a", "n"}}, {"Mcp-Param-Ok", []string{"ok"}}}
	for _, tc := range []struct {
		name, arguments string
		header          http.Header
		want            bool
	}{
		{"all", `{"region":"eu","a":{"n":42},"ok":true}`, headers("mcp-param-REGION", "eu", "Mcp-Param-N", "42", "Mcp-Param-Ok", "true"), true},
		{"none", `{}`, headers(), true},
		{"null", `{"region":null,"a":null}`, headers(), true},
		{"unknown ones", `{}`, headers("Mcp-Param-Other", "é"), true},
		{"missing", `{"region":"eu"}`, headers(), false},
		{"too many", `{"region":null}`, headers("Mcp-Param-Region", "eu"), false},
		{"other text", `{"region":"eu"}`, headers("Mcp-Param-Region", "EU"), false},
		{"twice", `{"region":"eu"}`, headers("Mcp-Param-Region", "eu", "Mcp-Param-Region", "eu"), false},
		{"empty", `{"region":""}`, headers("Mcp-Param-Region", ""), true},
		{"Base64", `{"region":"Hello"}`, headers("Mcp-Param-Region", "=?base64?SGVsbG8=?="), true},
		{"bad Base64", `{"region":"Hello"}`, headers("Mcp-Param-Region", "=?base64?SGVs!!!bG8=?="), false},
		{"bad padding", `{"region":"Hello"}`, headers("Mcp-Param-Region", "=?base64?SGVsbG8?="), false},
		{"looks like Base64", `{"region":"SGVsbG8="}`, headers("Mcp-Param-Region", "SGVsbG8="), true},
		{"no end of Base64", `{"region":"=?base64?SGVsbG8="}`, headers("Mcp-Param-Region", "=?base64?SGVsbG8="), true},
		{"raw bytes", `{"region":"é"}`, headers("Mcp-Param-Region", "é"), false},
		{"equal numbers", `{"a":{"n":42.0}}`, headers("Mcp-Param-N", "42"), true},
		{"equal numbers, other way", `{"a":{"n":42}}`, headers("Mcp-Param-N", "42.0"), true},
		{"other number", `{"a":{"n":42}}`, headers("Mcp-Param-N", "43"), false},
		{"null is no number", `{"a":{"n":0}}`, headers("Mcp-Param-N", "null"), false},
		{"no integer", `{"a":{"n":1.5}}`, headers("Mcp-Param-N", "1.5"), false},
		{"beyond safe", `{"a":{"n":9007199254740993}}`, headers("Mcp-Param-N", "9007199254740992"), false},
		{"no number", `{"a":{"n":42}}`, headers("Mcp-Param-N", "0x2a"), false},
		{"other truth", `{"ok":true}`, headers("Mcp-Param-Ok", "True"), false},
		{"an object", `{"region":{}}`, headers("Mcp-Param-Region", "{}"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := parse(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":`+tc.arguments+`}}`)
			if err := checkParamHeaders(tc.header, m, want); (err == nil) != tc.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Annotations are those of the session's last list; its pages belong together.
func TestToolsAreRemembered(t *testing.T) {
	var all toolParams
	one, other := new(session.Session), new(session.Session)
	done := make(chan struct{})
	list := func(s *session.Session, params, tools string) {
		all.Remember(s, done, parse(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":`+params+`}`), []byte(`{"tools":[`+tools+`]}`))
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
