package mcp

import (
	"encoding/json"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
)

// lists are the capabilities of a server that has a list, with the notification that tells
// of its changes (schema, ServerCapabilities).
var lists = []struct{ capability, changed string }{
	{"tools", MethodToolsChanged}, {"prompts", MethodPromptsChanged}, {"resources", MethodResourcesChanged},
}

// TellsOfLists returns a server's capabilities with the promise to tell when one of the
// lists that it has changes: what a client sees of them may, whatever the server does. All
// else stays as it is.
func TellsOfLists(capabilities json.RawMessage) json.RawMessage {
	for _, l := range lists {
		at := rawjson.Find(capabilities, 0, l.capability)
		if has := at.Of(capabilities); len(has) > 0 && has[0] == '{' {
			capabilities = rawjson.Splice(capabilities, at, rawjson.With(has, rawjson.Member{Name: "listChanged", Value: []byte("true")}))
		}
	}
	return capabilities
}

// ListsChanged are the notifications that tell of changes of the lists that a server with
// these capabilities has.
func ListsChanged(capabilities json.RawMessage) (methods []string) {
	for _, l := range lists {
		if has := rawjson.Find(capabilities, 0, l.capability).Of(capabilities); len(has) > 0 && has[0] == '{' {
			methods = append(methods, l.changed)
		}
	}
	return methods
}
