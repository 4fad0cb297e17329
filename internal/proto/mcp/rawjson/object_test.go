package rawjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

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

func TestItems(t *testing.T) {
	for doc, want := range map[string]string{
		` [ ]`:                              ``,
		`[1]`:                               `1`,
		"[ {\"a\":[1,2]} ,\n\"]\" , null]":  `{"a":[1,2]}|"]"|null`,
		`[[],[[1]],"\\",-1.5e3 ,{"}":"{"}]`: `[]|[[1]]|"\\"|-1.5e3|{"}":"{"}`,
	} {
		items, ok := Items([]byte(doc), 0)
		var got []string
		for _, at := range items {
			got = append(got, string(at.Of([]byte(doc))))
		}
		if s := strings.Join(got, "|"); !ok || s != want {
			t.Errorf("%s: got %s, %v; want %s", doc, s, ok, want)
		}
	}
	for _, doc := range []string{``, `{}`, `"[1]"`, `null`} {
		if items, ok := Items([]byte(doc), 0); ok || items != nil {
			t.Errorf("%s: got %v", doc, items)
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
