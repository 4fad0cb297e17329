package stateless

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// How long a client may go by a list without asking again (2026-07-28, Caching).
// A backend that tells of changes reaches clients that listen; for all others, and
// for backends that do not tell, the time bounds how late they notice. What a
// resource holds may differ from one read to the next.
const (
	toldTTL   = 5 * time.Minute
	untoldTTL = time.Minute
)

// translated is a response of the backend as the client's revision has it.
func (q *request) translated(m mcp.Message) []byte {
	if !q.modern || q.server.Modern {
		return m.Raw
	}
	raw := translate(q.Method, q.server, m)
	if string(m.ID()) == string(q.ID()) {
		return raw
	}
	if m, err := mcp.Parse(raw); err == nil { // an earlier request began the call
		return m.WithID(q.ID())
	}
	return raw
}

// translate makes the response of an old backend to a request of method one of
// 2026-07-28. What an older revision has no word for is set, whatever stands
// there; all else passes byte for byte.
func translate(method string, server session.Server, m mcp.Message) []byte {
	if m.IsError() {
		switch m.ErrorCode() {
		case mcp.CodeResourceNotFound:
			return m.WithErrorCode(mcp.CodeInvalidParams)
		case mcp.CodeURLElicitation: // and openURLs could not read it
			return m.WithErrorCode(mcp.CodeInternalError)
		}
		return m.Raw
	}
	set := append([]rawjson.Member{{Name: "resultType", Value: []byte(`"complete"`)}}, caching(method, server)...)
	if server.Info != nil && m.ResultField("_meta", mcp.MetaServerInfo) == nil {
		meta := rawjson.With(m.ResultField("_meta"), rawjson.Member{Name: mcp.MetaServerInfo, Value: server.Info})
		set = append(set, rawjson.Member{Name: "_meta", Value: meta})
	}
	return m.WithResult(rawjson.With(m.Result(), set...))
}

// caching is what a result says about its keeping: nothing may be shared, since
// it was got with one user's rights.
func caching(method string, server session.Server) []rawjson.Member {
	can, ttl := server.Supports(), time.Duration(0)
	switch method {
	case mcp.MethodDiscover:
		ttl = toldTTL
	case mcp.MethodToolsList:
		ttl = listTTL(can.ToolsChanged)
	case mcp.MethodPromptsList:
		ttl = listTTL(can.PromptsChanged)
	case mcp.MethodResourcesList, mcp.MethodTemplatesList:
		ttl = listTTL(can.ResourcesChanged)
	case mcp.MethodResourcesRead:
	default:
		return nil
	}
	return []rawjson.Member{
		{Name: "ttlMs", Value: strconv.AppendInt(nil, ttl.Milliseconds(), 10)},
		{Name: "cacheScope", Value: []byte(`"private"`)},
	}
}

func listTTL(told bool) time.Duration {
	if told {
		return toldTTL
	}
	return untoldTTL
}

// discovered answers server/discover for a backend that told the same at
// initialize. Tasks have become an extension with another form, so they are left
// out.
func discovered(id json.RawMessage, server session.Server) []byte {
	versions, _ := json.Marshal(mcp.Supported)
	set := []rawjson.Member{
		{Name: "resultType", Value: []byte(`"complete"`)},
		{Name: "supportedVersions", Value: versions},
		{Name: "capabilities", Value: rawjson.Without(rawjson.With(mcp.TellsOfLists(server.Capabilities)), "tasks")},
	}
	if server.Instructions != nil {
		set = append(set, rawjson.Member{Name: "instructions", Value: server.Instructions})
	}
	set = append(set, caching(mcp.MethodDiscover, server)...)
	if server.Info != nil {
		set = append(set, rawjson.Member{Name: "_meta", Value: rawjson.With(nil, rawjson.Member{Name: mcp.MetaServerInfo, Value: server.Info})})
	}
	return mcp.ResultResponse(id, rawjson.With(nil, set...))
}

// raised is a request of an older revision as a backend of 2026-07-28 takes it:
// from a client that cannot be asked anything.
func raised(m mcp.Message) mcp.Message {
	version, _ := json.Marshal(mcp.Version20260728)
	meta := rawjson.With(m.Param("_meta"),
		rawjson.Member{Name: mcp.MetaProtocolVersion, Value: version},
		rawjson.Member{Name: mcp.MetaClientCapabilities, Value: []byte("{}")})
	raw := m.WithParams(rawjson.With(m.Params(), rawjson.Member{Name: "_meta", Value: meta}))
	changed, err := mcp.Parse(raw)
	if err != nil { // params are no object
		return m
	}
	return changed
}
