package mcp

import (
	"net/http"
	"testing"
)

func TestAccepts(t *testing.T) {
	for accept, want := range map[string]bool{
		"application/json, text/event-stream": true,
		"text/event-stream":                   true,
		"Application/JSON;charset=utf-8":      true,
		"*/*":                                 true,
		"text/html, */*;q=0.1":                true,
		"application/*":                       true,
		"text/html":                           false,
		"image/*":                             false,
		"application/json;q=0":                false,
		"application/json;q=0.0, text/event-stream": true,
		"application/jsonl":                         false,
		"":                                          true,
		"json":                                      false,
	} {
		if got := Accepts(http.Header{"Accept": {accept}}, TypeJSON, TypeEventStream); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
	if !Accepts(http.Header{}, TypeJSON) {
		t.Error("no header is refused")
	}
	if !Accepts(http.Header{"Accept": {"text/html", "text/*"}}, TypeEventStream) {
		t.Error("the second header was not looked at")
	}
}
