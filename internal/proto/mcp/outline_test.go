package mcp

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func outline(pieces ...string) (o Outline) {
	for _, p := range pieces {
		_, _ = o.Write([]byte(p))
	}
	return o
}

// An outline tells what malformed text was meant to be, however it is cut into pieces.
func TestOutline(t *testing.T) {
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	for _, tc := range []struct {
		raw  string
		kind string // "response", "request" or ""
		id   string
	}{
		{`{"jsonrpc":"2.0","id":7,"result":{"a":"b`, "response", "7"},
		{`{"jsonrpc":"2.0","id":7,"res`, "response", "7"},
		{`{"jsonrpc":"2.0","id":"7"`, "response", `"7"`},
		{`{"result":{"id":1,"a":[{"id":2},"id"]},"jsonrpc":"2.0","id":7}`, "response", "7"},
		{`{"result":` + deep + `, "jsonrpc" : "2.0" , "id" : 7 }`, "response", "7"},
		{`{"jsonrpc":"2.0","id":7,"error":"x"}`, "response", "7"},
		{`{"id":7,"result":{}}`, "response", "7"},
		{`{"jsonrpc":"2.0","ID":7,"result":{}}`, "response", "7"},
		{`{"jsonrpc":"2.0","result":{"text":"he said \"x\" \\"},"id":7}`, "response", "7"},
		{"{\"jsonrpc\":\"2.0\",\"result\":{\"text\":\"\xff\x01\"},\"id\":7}", "response", "7"},
		{`{"jsonrpc":"2.0","id":7,"id":8,"result":{}}`, "response", ""},
		{`{"jsonrpc":"2.0","id":{"a":7},"result":{}}`, "response", ""},
		{`{"jsonrpc":"2.0","result":{"text":"he said "id":3"},"id":7}`, "response", "7"},
		{`{"jsonrpc":"2.0","result":"he said "id":3,"id":7}`, "response", ""},
		{`{"jsonrpc":"2.0","id":"` + strings.Repeat("7", 1000) + `","result":{}}`, "response", ""},
		{`{"jsonrpc":"2.0","id":7,"method":"roots/list","params":[}`, "request", "7"},
		{`{"jsonrpc":"2.0","method":"a","params":{"result":1,"id":7}`, "", ""},
		{`{"level":"error","error":"no such issue"`, "", ""},
		{`{"level":"info","id":7}`, "", "7"},
		{`[INFO] {"jsonrpc":"2.0","id":7}`, "", ""},
		{`ready {"jsonrpc":"2.0","id":7,"result":{}}`, "", ""},
		{``, "", ""},
	} {
		whole := outline(tc.raw)
		kind := ""
		switch {
		case whole.Response():
			kind = "response"
		case whole.Request():
			kind = "request"
		}
		if kind != tc.kind || string(whole.ID) != tc.id {
			t.Errorf("%.80s: a %q of id %s, want a %q of id %s", tc.raw, kind, whole.ID, tc.kind, tc.id)
		}
		if whole.TooDeep() != strings.Contains(tc.raw, deep) {
			t.Errorf("%.80s is %d deep", tc.raw, whole.Depth)
		}
		for at := range min(len(tc.raw), 200) {
			if got := outline(tc.raw[:at], tc.raw[at:]); !reflect.DeepEqual(got, whole) {
				t.Fatalf("%.80s cut at %d: %+v, want %+v", tc.raw, at, got, whole)
			}
		}
		if size := len(fmt.Sprintf("%+v", whole)); size > 8*maxKept {
			t.Errorf("%.80s: %d bytes are kept", tc.raw, size)
		}
	}
}

// FuzzOutline: of what is a message it says what Parse says, and when it is written down
// in between as well.
func FuzzOutline(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"result":{"a":[1,"\"",{}]}}`), 20)
	f.Add([]byte(` { "id" : -1.5e3 , "jsonrpc" : "2.0" , "error":{} } `), 9)
	f.Add([]byte(`{"method":"\u0061","id":"\\","jsonrpc":"2.0"}`), 1)
	f.Fuzz(func(t *testing.T, raw []byte, at int) {
		m, err := Parse(raw)
		if err != nil || len(m.ID()) > maxKept {
			return
		}
		at = min(max(at, 0), len(raw))
		first := outline(string(raw[:at]))
		saved, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		var o Outline
		if err := json.Unmarshal(saved, &o); err != nil {
			t.Fatal(err)
		}
		_, _ = o.Write(raw[at:])
		if string(o.ID) != string(m.ID()) || o.Response() != (m.Kind == Response) || m.Kind == Request && !o.Request() && !o.Answer {
			t.Fatalf("%s: %+v", raw, o)
		}
	})
}
