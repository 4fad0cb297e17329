package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		kind     Kind
		id       string
		err      error
	}{
		{"request", `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, Request, "7", nil},
		{"string id", ` { "id" : "a\"}" , "method":"ping","jsonrpc":"2.0"} `, Request, `"a\"}"`, nil},
		{"large id keeps its digits", `{"jsonrpc":"2.0","id":12345678901234567890123,"method":"ping"}`, Request, "12345678901234567890123", nil},
		{"escaped key", `{"jsonrpc":"2.0","\u0069d":1,"method":"ping"}`, Request, "1", nil},
		{"notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, Notification, "", nil},
		{"response", `{"jsonrpc":"2.0","id":"x","result":{}}`, Response, `"x"`, nil},
		{"error", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`, Response, "null", nil},
		{"nested id is not the id", `{"jsonrpc":"2.0","method":"x","params":{"id":3}}`, Notification, "", nil},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, 0, "", ErrNotMessage},
		{"object id", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, 0, "", ErrNotMessage},
		{"repeated id", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, 0, "", ErrNotMessage},
		{"repeated by escape", `{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"ping"}`, 0, "", ErrNotMessage},
		{"another case", `{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}`, 0, "", ErrNotMessage},
		{"only another case", `{"jsonrpc":"2.0","ID":1,"method":"ping"}`, 0, "", ErrNotMessage},
		{"tool name twice", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}`, 0, "", ErrNotMessage},
		{"no version", `{"id":1,"method":"ping"}`, 0, "", ErrNotMessage},
		{"result and error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, 0, "", ErrNotMessage},
		{"array", `[]`, 0, "", ErrNotMessage},
		{"truncated", `{"jsonrpc":"2.0"`, 0, "", ErrNotJSON},
		{"two values", `{} {}`, 0, "", ErrNotJSON},
		{"empty", ``, 0, "", ErrNotJSON},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := Parse([]byte(tc.in))
			if !errors.Is(err, tc.err) {
				t.Fatalf("err = %v, want %v", err, tc.err)
			}
			if err == nil && (m.Kind != tc.kind || string(m.ID()) != tc.id) {
				t.Fatalf("kind %v id %s, want %v %s", m.Kind, m.ID(), tc.kind, tc.id)
			}
		})
	}
}

func TestSplicingLeavesTheRestAlone(t *testing.T) {
	raw := `{"x":1.0e5, "jsonrpc":"2.0","params":{"big":123456789012345678901,"_meta":{"progressToken":"t\\\"","k":[1 ,2]}},"id": 4 ,"method":"m"}`
	m, err := Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	m = m.WithParam([]byte("9"), "_meta", "progressToken")
	got := string(m.WithID([]byte(`"new"`)))
	want := `{"x":1.0e5, "jsonrpc":"2.0","params":{"big":123456789012345678901,"_meta":{"progressToken":9,"k":[1 ,2]}},"id": "new" ,"method":"m"}`
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestLine(t *testing.T) {
	if got := string(Line([]byte("{\r\n\"a\":1\n}"))); got != "{  \"a\":1 }\n" {
		t.Fatalf("Line = %q", got)
	}
}

// FuzzParse holds the scanner against encoding/json: same ids, same params, and
// splicing an id back in restores the message.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":1}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":"\\\"","result":[{"a":"]}"}]}`))
	f.Add([]byte("{\"jsonrpc\":\"2.0\" ,\t\"method\" : \"\\u0061\"}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw)
		if err != nil {
			return
		}
		var want struct{ ID, Params, Result json.RawMessage }
		members := map[string]json.RawMessage{}
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatalf("parsed what encoding/json refuses: %v", err)
		}
		want.ID, want.Params, want.Result = members["id"], members["params"], members["result"]
		if !bytes.Equal(m.ID(), want.ID) || !bytes.Equal(m.Params(), want.Params) || !bytes.Equal(m.Result(), want.Result) {
			t.Fatalf("%s: id %s params %s result %s, want %v", raw, m.ID(), m.Params(), m.Result(), want)
		}
		if m.ID() != nil && !bytes.Equal(m.WithID(m.ID()), raw) {
			t.Fatalf("%s: splicing the same id in changed the message", raw)
		}
		m.Param("_meta", "progressToken")
		m.ResultString("serverInfo", "version")
	})
}
