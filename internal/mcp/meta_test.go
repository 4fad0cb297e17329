package mcp

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestReadMeta(t *testing.T) {
	const version = `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`
	for meta, want := range map[string]bool{
		`{}`: false,
		`{"io.modelcontextprotocol/protocolVersion":1,"io.modelcontextprotocol/clientCapabilities":{}}`: false,
		`{` + version + `}`: false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{}}`:                                              true,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":null}`:                                            false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":[]}`:                                              false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{"sampling":true}}`:                               false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{"sampling":{"tools":{}},"x":1}}`:                 true,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":"x"}`:     false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"debug"}`:   true,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"verbose"}`: false,
		`{` + version + `,"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":7}`:         false,
	} {
		m := mustParse(t, `{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":`+meta+`}}`)
		if _, err := ReadMeta(m); (err == nil) != want {
			t.Errorf("%s: %v", meta, err)
		}
	}
}

func TestSevere(t *testing.T) {
	for _, tc := range []struct {
		level, from string
		want        bool
	}{{"debug", "debug", true}, {"debug", "info", false}, {"emergency", "alert", true}, {"warning", "error", false}, {"strange", "error", true}} {
		if Severe(tc.level, tc.from) != tc.want {
			t.Errorf("%s from %s", tc.level, tc.from)
		}
	}
}

func TestWith(t *testing.T) {
	for _, tc := range []struct{ object, want string }{
		{``, `{"a":1,"b":2}`},
		{`null`, `{"a":1,"b":2}`},
		{`{}`, `{"a":1,"b":2}`},
		{`{ }`, `{"a":1,"b":2 }`},
		{` {"x":1.0e5}`, ` {"a":1,"b":2,"x":1.0e5}`},
		{`{"b" : "old", "x":{"a":3}}`, `{"a":1,"b" : 2, "x":{"a":3}}`},
		{`{"a":[],"b":{}}`, `{"a":1,"b":2}`},
	} {
		if got := With([]byte(tc.object), Member{"a", []byte("1")}, Member{"b", []byte("2")}); string(got) != tc.want {
			t.Errorf("%s: got %s, want %s", tc.object, got, tc.want)
		}
	}
}

func TestWithout(t *testing.T) {
	for object, want := range map[string]string{
		`{"a":1}`:                  `{}`,
		`{"a":1,"b":{"a": 1.0}}`:   `{"b":{"a": 1.0}}`,
		`{"b":[1 ,2],"a":1,"c":0}`: `{"b":[1 ,2],"c":0}`,
		`[]`:                       `[]`,
	} {
		if got := Without([]byte(object), "a"); string(got) != want {
			t.Errorf("%s: got %s, want %s", object, got, want)
		}
	}
}

func TestErrorCode(t *testing.T) {
	m := mustParse(t, `{"jsonrpc":"2.0","id":1,"error":{"message":"m", "code" : -32002,"data":1.50}}`)
	if m.ErrorCode() != CodeResourceNotFound {
		t.Fatalf("got %d", m.ErrorCode())
	}
	if got := string(m.WithErrorCode(CodeInvalidParams)); got != `{"jsonrpc":"2.0","id":1,"error":{"message":"m", "code" : -32602,"data":1.50}}` {
		t.Fatalf("got %s", got)
	}
	if got := mustParse(t, `{"jsonrpc":"2.0","id":1,"result":{}}`).ErrorCode(); got != 0 {
		t.Fatalf("a result has code %d", got)
	}
}

func TestWithParams(t *testing.T) {
	for raw, want := range map[string]string{
		`{"jsonrpc":"2.0","method":"x"}`:                      `{"params":{"a":1},"jsonrpc":"2.0","method":"x"}`,
		`{"jsonrpc":"2.0","params": 7 ,"method":"x"}`:         `{"jsonrpc":"2.0","params": {"a":1} ,"method":"x"}`,
		`{"jsonrpc":"2.0","method":"x","params":[ ] , "z":0}`: `{"jsonrpc":"2.0","method":"x","params":{"a":1} , "z":0}`,
	} {
		if got := mustParse(t, raw).WithParams([]byte(`{"a":1}`)); string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzWith: what was there stays byte for byte, what was set stands, and setting
// it again changes nothing.
func FuzzWith(f *testing.F) {
	f.Add([]byte(`{"tools":[{"name":"a","n":1.0}], "_meta":{"x":"}\""}}`))
	f.Add([]byte(`{"resultType":"x","resultType":"y"}`))
	f.Add([]byte("{\t}"))
	f.Fuzz(func(t *testing.T, object []byte) {
		before := map[string]json.RawMessage{}
		if json.Unmarshal(object, &before) != nil || before == nil {
			return
		}
		set := []Member{{"resultType", []byte(`"complete"`)}, {"ttlMs", []byte("0")}}
		got := With(object, set...)
		after := map[string]json.RawMessage{}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%s became %s: %v", object, got, err)
		}
		for _, m := range set {
			if !bytes.Equal(after[m.Name], m.Value) {
				t.Fatalf("%s became %s", object, got)
			}
			delete(before, m.Name)
			delete(after, m.Name)
		}
		if len(before) != len(after) {
			t.Fatalf("%s became %s", object, got)
		}
		for name, value := range before {
			if !bytes.Equal(after[name], value) {
				t.Fatalf("%s became %s: %q differs", object, got, name)
			}
		}
		if again := With(got, set...); !bytes.Equal(again, got) {
			t.Fatalf("%s became %s and then %s", object, got, again)
		}
	})
}

func mustParse(t *testing.T, raw string) Message {
	t.Helper()
	m, err := Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
