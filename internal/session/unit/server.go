package unit

import "encoding/json"

// Server is what a backend says of itself. What it does not say is nil.
type Server struct {
	Modern       bool            `json:"modern,omitempty"` // it speaks 2026-07-28, without a handshake
	Protocol     string          `json:"protocol"`         // the revision to speak with it
	Info         json.RawMessage `json:"info,omitempty"`
	Capabilities json.RawMessage `json:"capabilities,omitempty"`
	Instructions json.RawMessage `json:"instructions,omitempty"`
	Discover     []byte          `json:"discover,omitempty"` // a modern backend's whole result of server/discover
}

// Supports are the capabilities that somebody here acts on.
type Supports struct {
	Logging            bool // logging/setLevel
	ToolsChanged       bool // tells when the list of tools has changed
	PromptsChanged     bool
	ResourcesChanged   bool
	ResourcesSubscribe bool // resources/subscribe
}

// Supports reads the capabilities. What is not as the schema says is taken for
// absent.
func (s Server) Supports() Supports {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(s.Capabilities, &all)
	var tools, prompts, resources struct{ ListChanged, Subscribe bool }
	_ = json.Unmarshal(all["tools"], &tools)
	_ = json.Unmarshal(all["prompts"], &prompts)
	_ = json.Unmarshal(all["resources"], &resources)
	return Supports{
		Logging:      len(all["logging"]) > 0 && all["logging"][0] == '{',
		ToolsChanged: tools.ListChanged, PromptsChanged: prompts.ListChanged,
		ResourcesChanged: resources.ListChanged, ResourcesSubscribe: resources.Subscribe,
	}
}
