package session

import (
	"encoding/json"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
)

// offered is a client's initialize as the backend gets it: in place of a revision that
// the broker does not know, or that has no sessions, the latest of those it does, since
// what the two agreed to could not be carried (MCP, Lifecycle, Version Negotiation).
func offered(initialize mcp.Message) mcp.Message {
	return initialize.WithParam(known(initialize.ParamString("protocolVersion")), "protocolVersion")
}

// agreed is the backend's answer as the client gets it: with the promise to tell of changed
// lists, which ListsChanged keeps, and with a revision that the broker knows, the one that
// was offered where the backend names no such one.
func agreed(initialize, answer mcp.Message) (mcp.Message, error) {
	answer = answer.WithResultField(mcp.TellsOfLists(answer.ResultField("capabilities")), "capabilities")
	if answer.IsError() || mcp.Handshake(answer.ResultString("protocolVersion")) {
		return answer, nil
	}
	version := rawjson.Member{Name: "protocolVersion", Value: known(initialize.ParamString("protocolVersion"))}
	return mcp.Parse(answer.WithResult(rawjson.With(answer.Result(), version)))
}

// said is what is stored of an answer to initialize: what was agreed to.
func said(answer mcp.Message) string {
	b, _ := json.Marshal(Server{Protocol: answer.ResultString("protocolVersion"), Capabilities: answer.ResultField("capabilities")})
	return string(b)
}

func known(version string) json.RawMessage {
	if !mcp.Handshake(version) {
		version = mcp.Version20251125
	}
	return json.RawMessage(`"` + version + `"`)
}
