package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
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
		{"another case, as encoding/json folds it", `{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}`, 0, "", ErrNotMessage},
		{"tool name twice", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}`, 0, "", ErrNotMessage},
		{"no version", `{"id":1,"method":"ping"}`, 0, "", ErrNotMessage},
		{"result and error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, 0, "", ErrNotMessage},
		{"array", `[]`, 0, "", ErrNotMessage},
		{"truncated", `{"jsonrpc":"2.0"`, 0, "", ErrNotJSON},
		{"two values", `{} {}`, 0, "", ErrNotJSON},
		{"empty", ``, 0, "", ErrNotJSON},
		{"not UTF-8", "{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":{\"a\":\"\xff\"}}", 0, "", ErrNotUTF8},
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

func TestLineWith(t *testing.T) {
	for _, raw := range []string{
		`{"jsonrpc":"2.0","id":4,"method":"m","params":{"_meta":{"progressToken":[1,\n2]}}}`,
		`{"jsonrpc":"2.0","params":{"_meta":{"progressToken":"t"},"x":1.0},\r\n"method":"m","id":"i"}`,
		`{"jsonrpc":"2.0","id":4,"method":"m","params":{}}`,
	} {
		m, err := Parse([]byte(strings.NewReplacer(`\n`, "\n", `\r`, "\r").Replace(raw)))
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []json.RawMessage{nil, json.RawMessage("77")} {
			want := m.WithParam(token, "_meta", "progressToken")
			if token == nil {
				want = m
			}
			want, _ = Parse(want.Raw)
			if got := string(m.LineWith([]byte(`"new"`), token)); got != string(Line(want.WithID([]byte(`"new"`)))) {
				t.Errorf("got %q", got)
			}
		}
	}
}

// After a splice the members are where they were said to be.
func TestSplicedMessageKnowsItsMembers(t *testing.T) {
	for _, raw := range []string{
		`{"id":1,"jsonrpc":"2.0","method":"m","params":{"a":{"b":1},"c":2}}`,
		`{"params":{"a":{"b":1},"c":2},"id":1,"jsonrpc":"2.0","method":"m"}`,
	} {
		m, err := Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		got := m.WithParam([]byte(`"longer than before"`), "a", "b")
		want, err := Parse(got.Raw)
		if err != nil || !reflect.DeepEqual(got, want) || got.ParamString("a", "b") != "longer than before" {
			t.Errorf("%s: %+v, %+v, %v", got.Raw, got, want, err)
		}
	}
	r, err := Parse([]byte(`{"jsonrpc":"2.0","result":{"_meta":{"k":12345},"isError":true},"id":1}`))
	if err != nil || !r.Failed() {
		t.Fatal(err)
	}
	if got := string(r.WithResultField([]byte("1"), "_meta", "k").WithID([]byte("2"))); got != `{"jsonrpc":"2.0","result":{"_meta":{"k":1},"isError":true},"id":2}` {
		t.Errorf("got %s", got)
	}
}

// FuzzEnvelope holds the scanner against encoding/json: the same documents are
// valid, ids, params and results are the same bytes, and splicing an id back in
// restores the message.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":1}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":"\\\"","result":[{"a":"]}"}]}`))
	f.Add([]byte("{\"jsonrpc\":\"2.0\" ,\t\"method\" : \"\\u0061\"}"))
	f.Add([]byte(`{"jsonrpc":"2.0","id":-0.5e+10,"error":{"a":[true,false,null,{},[]]}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"param\u017f":{},"method":"ping","x":01}`))
	f.Add([]byte(strings.Repeat("[", 10001) + strings.Repeat("]", 10001)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw)
		if valid := json.Valid(raw) && utf8.Valid(raw); valid == errors.Is(err, ErrNotJSON) {
			t.Fatalf("%q: %v, encoding/json says valid: %v", raw, err, valid)
		}
		if err != nil {
			return
		}
		members := map[string]json.RawMessage{}
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatalf("parsed what encoding/json refuses: %v", err)
		}
		if !bytes.Equal(m.ID(), members["id"]) || !bytes.Equal(m.Params(), members["params"]) || !bytes.Equal(m.Result(), members["result"]) {
			t.Fatalf("%s: id %s params %s result %s, want %v", raw, m.ID(), m.Params(), m.Result(), members)
		}
		if m.ID() != nil && !bytes.Equal(m.WithID(m.ID()), raw) {
			t.Fatalf("%s: splicing the same id in changed the message", raw)
		}
		if token := m.Param("_meta", "progressToken"); m.ID() != nil && !bytes.Equal(m.LineWith(m.ID(), token), Line(raw)) {
			t.Fatalf("%s: splicing the same id and token in changed the message", raw)
		}
		m.ResultString("serverInfo", "version")
	})
}
