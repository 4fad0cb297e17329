package mcp

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTellsOfLists(t *testing.T) {
	for _, tc := range []struct{ capabilities, want, methods string }{
		{``, ``, ``},
		{`null`, `null`, ``},
		{`{"logging":{}}`, `{"logging":{}}`, ``},
		{`{"logging":{},"resources":{},"tools":{"listChanged":true}}`, `{"logging":{},"resources":{"listChanged":true},"tools":{"listChanged":true}}`,
			"notifications/tools/list_changed notifications/resources/list_changed"},
		{`{"tools":{"listChanged":false,"x":1.0}, "prompts" : { }, "resources":{"subscribe":true}}`,
			`{"tools":{"listChanged":true,"x":1.0}, "prompts" : {"listChanged":true }, "resources":{"listChanged":true,"subscribe":true}}`,
			"notifications/tools/list_changed notifications/prompts/list_changed notifications/resources/list_changed"},
		{`{"tools":true,"prompts":[]}`, `{"tools":true,"prompts":[]}`, ``},
	} {
		if got := TellsOfLists(json.RawMessage(tc.capabilities)); string(got) != tc.want {
			t.Errorf("%s became %s, want %s", tc.capabilities, got, tc.want)
		}
		if got := strings.Join(ListsChanged(json.RawMessage(tc.capabilities)), " "); got != tc.methods {
			t.Errorf("%s: %s, want %s", tc.capabilities, got, tc.methods)
		}
	}
}
