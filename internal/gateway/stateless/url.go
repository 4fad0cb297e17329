package stateless

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// openURLs answers with what an old backend has the user open before it is called
// again (2025-11-25, URL Elicitation Required Error). It reports false when the
// response says nothing of the kind. The call is over: there is no requestState.
func (q *request) openURLs(m mcp.Message) bool {
	urls := urlsOf(m)
	if len(urls) == 0 || !q.modern || q.server.Modern || !mcp.Invokes(q.Method) {
		return false
	}
	needs := mcp.ClientCapabilities{Elicitation: &mcp.Elicitation{URL: &struct{}{}}}
	if covers(q.meta.Capabilities, needs) {
		q.reply(http.StatusOK, mcp.ResultResponse(q.ID(), inputRequired(urls, "")))
	} else {
		q.refuse(incapable(mcp.MethodElicit, needs))
	}
	return true
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
