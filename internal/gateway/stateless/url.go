package stateless

import (
	"encoding/json"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// openURLs is the response that tells what an old backend has the user open before it
// is called again (2025-11-25, URL Elicitation Required Error); nil when m says nothing
// of the kind. The call is over: there is no requestState.
func (q *request) openURLs(m mcp.Message) ([]byte, error) {
	urls := urlsOf(m)
	if len(urls) == 0 || !q.modern || q.server.Modern || !mcp.Invokes(q.Method) {
		return nil, nil
	}
	needs := mcp.ClientCapabilities{Elicitation: &mcp.Elicitation{URL: &struct{}{}}}
	if !covers(q.meta.Capabilities, needs) {
		return nil, incapable(mcp.MethodElicit, needs)
	}
	return mcp.ResultResponse(q.ID(), inputRequired(urls, "")), nil
}

// urlsOf reads the error.
func urlsOf(m mcp.Message) []question {
	if m.ErrorCode() != mcp.CodeURLElicitation {
		return nil
	}
	var data struct{ Elicitations []json.RawMessage }
	if json.Unmarshal(m.ErrorField("data"), &data) != nil {
		return nil
	}
	var all []question
	for i, params := range data.Elicitations {
		key := "url-" + strconv.Itoa(i+1)
		raw := mcp.NewRequest([]byte(strconv.Quote(key)), mcp.MethodElicit, params)
		if m, err := mcp.Parse(raw); err == nil && m.ParamString("mode") == "url" {
			all = append(all, question{key, m})
		}
	}
	return all
}
