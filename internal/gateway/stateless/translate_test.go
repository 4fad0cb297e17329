package stateless

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

var old = session.Server{
	Protocol:     mcp.Version20251125,
	Info:         []byte(`{"name":"s","version":"1"}`),
	Capabilities: []byte(`{"tools":{"listChanged":true},"prompts":{},"logging":{},"tasks":{"list":{}},"x":{"n":1.0}}`),
	Instructions: []byte(`"be \u0062rief"`),
}

func parse(t testing.TB, raw string) mcp.Message {
	t.Helper()
	m, err := mcp.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTranslate(t *testing.T) {
	const info = `"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}`
	for _, tc := range []struct{ method, in, want string }{
		{"tools/call", `{"jsonrpc":"2.0","id":1,"result":{"content":[ ],"n":1.50}}`,
			`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete",` + info + `,"content":[ ],"n":1.50}}`},
		{"tools/list", `{"id":"a","result":{"tools":[]},"jsonrpc":"2.0"}`,
			`{"id":"a","result":{"resultType":"complete","ttlMs":300000,"cacheScope":"private",` + info + `,"tools":[]},"jsonrpc":"2.0"}`},
		{"prompts/list", `{"jsonrpc":"2.0","id":1,"result":{}}`,
			`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":60000,"cacheScope":"private",` + info + `}}`},
		{"resources/read", `{"jsonrpc":"2.0","id":1,"result":{"ttlMs":-1, "cacheScope" : "public","contents":[]}}`,
			`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete",` + info + `,"ttlMs":0, "cacheScope" : "private","contents":[]}}`},
		{"tools/call", `{"jsonrpc":"2.0","id":1,"result":{"_meta":{"a":1},"resultType":"other"}}`,
			`{"jsonrpc":"2.0","id":1,"result":{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"},"a":1},"resultType":"complete"}}`},
		{"tools/call", `{"jsonrpc":"2.0","id":1,"result":{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"own"}}}}`,
			`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"own"}}}}`},
		{"resources/read", `{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"no such resource","data":{"uri":"x"}}}`,
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such resource","data":{"uri":"x"}}}`},
		{"tools/call", `{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"m"}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"m"}}`},
		{"tools/call", `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"m"}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"m"}}`},
	} {
		if got := translate(tc.method, old, parse(t, tc.in)); string(got) != tc.want {
			t.Errorf("%s %s\ngot  %s\nwant %s", tc.method, tc.in, got, tc.want)
		}
	}
}

func TestDiscovered(t *testing.T) {
	const want = `{"jsonrpc":"2.0","id":"d","result":{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],` +
		`"capabilities":{"tools":{"listChanged":true},"prompts":{"listChanged":true},"logging":{},"x":{"n":1.0}},"instructions":"be \u0062rief","ttlMs":300000,"cacheScope":"private",` +
		`"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}}`
	if got := discovered([]byte(`"d"`), old); string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	const bare = `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"capabilities":{},"ttlMs":300000,"cacheScope":"private"}}`
	if got := discovered([]byte("1"), session.Server{}); string(got) != bare {
		t.Errorf("got  %s\nwant %s", got, bare)
	}
}

// An old backend's error that has the user open addresses first asks for just that.
func TestURLs(t *testing.T) {
	for in, want := range map[string]string{
		`{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","url":"https://a.example/","elicitationId":"x"},{"mode":"form"},{"mode":"url","url":"https://b.example/"}]}}`: `{"resultType":"input_required","inputRequests":{` +
			`"url-3":{"method":"elicitation/create","params":{"mode":"url","url":"https://b.example/"}},` +
			`"url-1":{"method":"elicitation/create","params":{"mode":"url","url":"https://a.example/","elicitationId":"x"}}}}`,
		`{"code":-32042,"message":"m","data":{"elicitations":{}}}`:                                  ``,
		`{"code":-32042,"message":"m"}`:                                                             ``,
		`{"code":-32603,"message":"m","data":{"elicitations":[{"mode":"url","url":"https://a/"}]}}`: ``,
	} {
		urls := urlsOf(parse(t, `{"jsonrpc":"2.0","id":1,"error":`+in+`}`))
		got := ""
		if len(urls) > 0 {
			got = string(inputRequired(urls, ""))
		}
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestRaised(t *testing.T) {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}`
	for in, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`:                                                           `{"params":{` + meta + `}},"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":7}}}`:         `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a",` + meta + `,"progressToken":7}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"n":12345678901234567}}}`: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + meta + `},"name":"a","arguments":{"n":12345678901234567}}}`,
	} {
		if got := raised(parse(t, in)); string(got.Raw) != want {
			t.Errorf("got  %s\nwant %s", got.Raw, want)
		}
	}
}

// FuzzStamp: a translated result says what it has to, keeps all else byte for byte,
// and stays as it is when it is translated again.
func FuzzStamp(f *testing.F) {
	f.Add([]byte(`{"tools":[{"name":"}\"","n":1.0e5}],"nextCursor":"\u0000"}`))
	f.Add([]byte(`{"_meta":null,"resultType":1,"resultType":2}`))
	f.Add([]byte(` { "_meta" : {"a":1}, "ttlMs" : 5 } `))
	stamped := map[string]string{"resultType": `"complete"`, "ttlMs": "300000", "cacheScope": `"private"`}
	f.Fuzz(func(t *testing.T, result []byte) {
		before := map[string]json.RawMessage{}
		m, err := mcp.Parse(mcp.ResultResponse([]byte("1"), result))
		if err != nil || json.Unmarshal(result, &before) != nil || before == nil {
			return
		}
		got := translate(mcp.MethodToolsList, old, m)
		again, err := mcp.Parse(got)
		if err != nil {
			t.Fatalf("%s became %s: %v", result, got, err)
		}
		after := map[string]json.RawMessage{}
		if err := json.Unmarshal(again.Result(), &after); err != nil {
			t.Fatalf("%s became %s: %v", result, got, err)
		}
		for name, want := range stamped {
			if string(after[name]) != want {
				t.Fatalf("%s became %s", result, got)
			}
		}
		for name, value := range before {
			if _, ours := stamped[name]; !ours && name != "_meta" && !bytes.Equal(after[name], value) {
				t.Fatalf("%s became %s: %q differs", result, got, name)
			}
		}
		keepsMeta(t, before["_meta"], after["_meta"])
		if twice := translate(mcp.MethodToolsList, old, again); !bytes.Equal(twice, got) {
			t.Fatalf("%s became %s and then %s", result, got, twice)
		}
	})
}

func keepsMeta(t *testing.T, before, after json.RawMessage) {
	t.Helper()
	was, is := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	_ = json.Unmarshal(before, &was) // what is not an object gives way
	if err := json.Unmarshal(after, &is); err != nil || is[mcp.MetaServerInfo] == nil {
		t.Fatalf("_meta %s became %s", before, after)
	}
	for name, value := range was {
		if !bytes.Equal(is[name], value) {
			t.Fatalf("_meta %s became %s: %q differs", before, after, name)
		}
	}
}
