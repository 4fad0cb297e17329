package stateless

import (
	"net/http"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// check holds a request of 2026-07-28 against its headers and reads its _meta. A
// revision that is not spoken here comes first, since what else it asks for cannot
// be known.
func check(header http.Header, m mcp.Message) (mcp.Meta, error) {
	version := m.ParamString("_meta", mcp.MetaProtocolVersion)
	if version != "" {
		if err := checkVersionHeader(header, version); err != nil {
			return mcp.Meta{}, mismatch(err)
		}
	} else {
		version = header.Get(mcp.HeaderProtocolVersion)
	}
	if version != mcp.Version20260728 {
		return mcp.Meta{}, unsupported(version)
	}
	if err := checkHeaders(header, m); err != nil {
		return mcp.Meta{}, mismatch(err)
	}
	meta, err := mcp.ReadMeta(m)
	if err != nil {
		return mcp.Meta{}, invalid(err)
	}
	if slices.Contains(removed, m.Method) {
		return mcp.Meta{}, notFound(m.Method)
	}
	return meta, nil
}

// removed are methods that 2026-07-28 has no more, whatever a backend makes of
// them.
var removed = []string{
	mcp.MethodInitialize, mcp.MethodPing, mcp.MethodSetLoggingLevel, mcp.MethodSubscribe, mcp.MethodUnsubscribe,
}

// methods are those of 2026-07-28 that a backend of an older revision knows under
// the same name.
var methods = []string{
	mcp.MethodToolsList, mcp.MethodToolsCall, mcp.MethodPromptsList, mcp.MethodPromptsGet, mcp.MethodResourcesList,
	mcp.MethodTemplatesList, mcp.MethodResourcesRead, mcp.MethodComplete,
}
