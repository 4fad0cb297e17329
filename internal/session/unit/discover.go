package unit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// ReasonProtocol: the backend speaks no revision of MCP that the broker knows.
const ReasonProtocol control.Reason = "protocol"

// unfitError says why the broker cannot work with a backend. Reason is fit for a client,
// Detail for the operator only.
type unfitError struct {
	Reason control.Reason
	Detail string
}

// Error names the reason and the detail.
func (e *unfitError) Error() string {
	return fmt.Sprintf("cannot work with the backend (%s): %s", e.Reason, e.Detail)
}

// openBackend begins to speak with b on the broker's own behalf, for clients that have no
// session: it asks server/discover, waits for as long as patience for the answer, and
// initializes a backend that does not know that (2026-07-28, stdio, Backward
// Compatibility). Errors: *unfitError, or b's.
func openBackend(ctx context.Context, b *Unit, patience time.Duration) (Server, error) {
	server, err := negotiate(ctx, b, patience)
	if err != nil {
		return Server{}, err
	}
	return server, checkVersion(server.Info)
}

func negotiate(ctx context.Context, b *Unit, patience time.Duration) (Server, error) {
	answer, err := discover(ctx, b, patience)
	if errors.Is(err, errSilent) {
		return handshake(ctx, b, mcp.Version20251125)
	}
	if err != nil {
		return Server{}, err
	}
	server, older, err := discovered(answer)
	if older != "" {
		return handshake(ctx, b, older)
	}
	return server, err
}

// initialized tells a backend that its answer to initialize was taken.
func initialized() mcp.Message {
	m, _ := mcp.Parse([]byte(`{"jsonrpc":"2.0","method":"` + mcp.MethodInitialized + `"}`))
	return m
}

// errSilent ends the wait for an answer to server/discover.
var errSilent = errors.New("no answer to server/discover")

// implementation is how the broker calls itself.
func implementation() map[string]string {
	return map[string]string{"name": "fjmcp-broker", "version": version.Version}
}

// discover asks server/discover, and gives up on a backend that does not answer in
// time.
func discover(ctx context.Context, b *Unit, patience time.Duration) (mcp.Message, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
	defer cancel()
	return b.Inquire(ctx, mcp.MethodDiscover, map[string]any{"_meta": map[string]any{
		mcp.MetaProtocolVersion:    mcp.Version20260728,
		mcp.MetaClientInfo:         implementation(),
		mcp.MetaClientCapabilities: struct{}{},
	}})
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
		err = &unfitError{Reason: ReasonProtocol, Detail: fmt.Sprintf("the backend speaks %q and none of the broker's revisions of MCP", offered)}
	}
	return Server{}, older, err
}

// handshake initializes a backend with all a client can be able to do: whether
// the client of a request is, is seen when the backend asks for it.
func handshake(ctx context.Context, b *Unit, revision string) (Server, error) {
	type can = struct{}
	answer, err := b.Inquire(ctx, mcp.MethodInitialize, map[string]any{
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
		return Server{}, &unfitError{Reason: ReasonProtocol, Detail: "the backend knows neither server/discover nor initialize"}
	}
	if v := answer.ResultString("protocolVersion"); !mcp.Handshake(v) {
		return Server{}, &unfitError{Reason: ReasonProtocol, Detail: fmt.Sprintf("the backend answered initialize with revision %q", v)}
	}
	s := Server{
		Protocol: answer.ResultString("protocolVersion"), Info: answer.ResultField("serverInfo"),
		Capabilities: answer.ResultField("capabilities"), Instructions: answer.ResultField("instructions"),
	}
	return s, b.Notify(ctx, initialized())
}
