package mcp

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
)

// event is one event as a reader gets it.
type event struct{ kind, data, lastID string }

// events reads a stream as the HTML Living Standard tells in §9.2.6, but for retry,
// which is not used here.
func events(stream string) (all []event) {
	stream = strings.TrimPrefix(stream, "\ufeff")
	stream = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stream)
	var kind, lastID string
	var data []string
	for {
		line, rest, whole := strings.Cut(stream, "\n")
		if !whole {
			return all // what no blank line ends is dropped
		}
		stream = rest
		if line == "" {
			if data != nil {
				all = append(all, event{kind, strings.Join(data, "\n"), lastID})
			}
			kind, data = "", nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			kind = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.Contains(value, "\x00") {
				lastID = value
			}
		}
	}
}

// FuzzEventStream holds the writer against a reader of the standard: each message
// comes back under its id byte for byte, but for carriage returns.
func FuzzEventStream(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0"}`), []byte(" {\n\"a\":\r\n1}"))
	f.Add([]byte("\n\n"), []byte("data: x\n\nid: 9\n"))
	f.Add([]byte(""), []byte(": \xff\xfe\x00"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		w := httptest.NewRecorder()
		s := NewEventStream(w)
		for i, raw := range [][]byte{first, second} {
			if err := s.Message("0-"+string(rune('0'+i)), raw); err != nil {
				t.Fatal(err)
			}
			if err := s.KeepAlive(); err != nil {
				t.Fatal(err)
			}
		}
		got := events(w.Body.String())
		if len(got) != 2 {
			t.Fatalf("%q was read as %d events", w.Body, len(got))
		}
		for i, raw := range [][]byte{first, second} {
			want := event{"message", string(bytes.ReplaceAll(raw, []byte("\r"), []byte(" "))), "0-" + string(rune('0'+i))}
			if len(raw) == 0 {
				want.kind = ""
			}
			if got[i] != want {
				t.Fatalf("wrote %q, read %q", want, got[i])
			}
		}
	})
}
