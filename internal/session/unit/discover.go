package unit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// ReasonProtocol: the backend speaks no revision of MCP that the broker knows.
const ReasonProtocol control.Reason = "protocol"

// Discover begins to speak with the backend on the broker's own behalf, for clients that
// have no session. Errors are those of Initialize.
func (u *Unit) Discover(ctx context.Context) (Server, error) {
	err := u.awaitMode(ctx)
	var server Server
	if err == nil {
		server, err = u.negotiate(ctx)
	}
	if err == nil {
		err = u.checkVersion(server.Info)
	}
	if err != nil {
		return Server{}, u.startFailure(ctx, err)
	}
	return server, nil
}

// negotiate asks server/discover, waits for as long as Config.ProbeTimeout for the answer,
// and initializes a backend that does not know that (2026-07-28, stdio, Backward
// Compatibility).
func (u *Unit) negotiate(ctx context.Context) (Server, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, u.cfg.ProbeTimeout, errSilent)
	defer cancel()
	answer, err := u.Inquire(bounded, mcp.MethodDiscover, map[string]any{"_meta": map[string]any{
		mcp.MetaProtocolVersion:    mcp.Version20260728,
		mcp.MetaClientInfo:         implementation(),
		mcp.MetaClientCapabilities: struct{}{},
	}})
	if errors.Is(err, errSilent) {
		return u.handshake(ctx, mcp.Version20251125)
	}
	if err != nil {
		return Server{}, err
	}
	server, older, err := discovered(answer)
	if older != "" {
		return u.handshake(ctx, older)
	}
	return server, err
}

// errSilent ends the wait for an answer to server/discover.
var errSilent = errors.New("no answer to server/discover")

// implementation is how the broker calls itself.
func implementation() map[string]string {
	return map[string]string{"name": "fjmcp-broker", "version": version.Version}
}

// discovered reads the answer to server/discover: the server if it is modern, or
// the older revision to initialize it with.
func discovered(answer mcp.Message) (s Server, older string, err error) {
	var a struct {
		Result struct {
			Meta              map[string]json.RawMessage `json:"_meta"`
			SupportedVersions []string
			Capabilities      json.RawMessage
			Instructions      json.RawMessage
		}
		Error struct {
			Code int
			Data struct{ Supported []string }
		}
	}
	_ = json.Unmarshal(answer.Raw, &a) // what is not as it should be is taken for absent
	offered := a.Result.SupportedVersions
	switch {
	case slices.Contains(offered, mcp.Version20260728):
		return Server{
			Modern: true, Protocol: mcp.Version20260728, Info: a.Result.Meta[mcp.MetaServerInfo],
			Capabilities: a.Result.Capabilities, Instructions: a.Result.Instructions, Discover: answer.Result(),
		}, "", nil
	case a.Error.Code == mcp.CodeHeaderMismatch, a.Error.Code == mcp.CodeMissingCapability:
		return Server{Modern: true, Protocol: mcp.Version20260728}, "", nil
	case a.Error.Code == mcp.CodeUnsupportedVersion:
		offered = a.Error.Data.Supported
	case len(offered) == 0:
		return Server{}, mcp.Version20251125, nil
	}
	for _, v := range offered {
		if mcp.Handshake(v) && v > older {
			older = v
		}
	}
	if older == "" {
		err = &StartError{Reason: ReasonProtocol, Detail: fmt.Sprintf("the backend speaks %q and none of the broker's revisions of MCP", offered)}
	}
	return Server{}, older, err
}

// handshake initializes a backend with all a client can be able to do: whether
// the client of a request is, is seen when the backend asks for it.
func (u *Unit) handshake(ctx context.Context, revision string) (Server, error) {
	type can = struct{}
	answer, err := u.Inquire(ctx, mcp.MethodInitialize, map[string]any{
		"protocolVersion": revision,
		"clientInfo":      implementation(),
		"capabilities": map[string]any{
			"roots":       map[string]bool{"listChanged": true},
			"sampling":    map[string]can{"tools": {}, "context": {}},
			"elicitation": map[string]can{"form": {}, "url": {}},
		},
	})
	if err != nil {
		return Server{}, err
	}
	if answer.IsError() {
		return Server{}, &StartError{Reason: ReasonProtocol, Detail: "the backend knows neither server/discover nor initialize"}
	}
	if v := answer.ResultString("protocolVersion"); !mcp.Handshake(v) {
		return Server{}, &StartError{Reason: ReasonProtocol, Detail: fmt.Sprintf("the backend answered initialize with revision %q", v)}
	}
	s := Server{
		Protocol: answer.ResultString("protocolVersion"), Info: answer.ResultField("serverInfo"),
		Capabilities: answer.ResultField("capabilities"), Instructions: answer.ResultField("instructions"),
	}
	return s, u.Notify(ctx, mcp.Initialized())
}

const backendName = "Forgejo MCP Server" // serverInfo.name, since its first release

// unversioned is logged once, not for each session.
var unversioned sync.Once

// checkVersion returns *StartError for a forgejo-mcp that is, by its serverInfo, too old to
// work here. One that states no version, as "dev" when it is built from source, is taken
// as new enough: whoever builds it knows what from.
func (u *Unit) checkVersion(serverInfo json.RawMessage) error {
	var info struct{ Name, Version string }
	_ = json.Unmarshal(serverInfo, &info) // another backend may say what it likes
	found, old := control.BackendVersion(info.Version)
	if info.Name == backendName && found == "" {
		unversioned.Do(func() {
			u.cfg.Log.Info("forgejo-mcp does not state its version, as when it is built from source; taking it as new enough",
				"stated", info.Version, "oldest that works", control.OldestBackend)
		})
	}
	if info.Name != backendName || !old {
		return nil
	}
	return &StartError{Reason: control.ReasonBackendTooOld, Detail: fmt.Sprintf("forgejo-mcp %s is too old; install %s or newer", info.Version, control.OldestBackend)}
}

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
	Tools              bool // has such a list
	Prompts            bool
	Resources          bool
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
	has := func(capability string) bool { return len(all[capability]) > 0 && all[capability][0] == '{' }
	return Supports{
		Logging: has("logging"), Tools: has("tools"), Prompts: has("prompts"), Resources: has("resources"),
		ToolsChanged: tools.ListChanged, PromptsChanged: prompts.ListChanged,
		ResourcesChanged: resources.ListChanged, ResourcesSubscribe: resources.Subscribe,
	}
}
