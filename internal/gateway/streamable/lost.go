package streamable

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// maxLabel bounds, in bytes, what event ids say of the requests they are about.
const maxLabel = 128

// label names the requests that a stream answers in its event ids. So a client that
// comes back for a stream that is no more, as after the broker was killed, can be
// told of each that it failed; else it would wait for the answer for ever.
func label(requests []mcp.Message) string {
	var ids []string
	for _, m := range requests {
		if m.Kind == mcp.Request {
			ids = append(ids, base64.RawURLEncoding.EncodeToString(m.ID()))
		}
	}
	if text := strings.Join(ids, "."); len(text) <= maxLabel {
		return text
	}
	return ""
}

// unlabel returns the requests' ids in a label; none if it is not one of ours.
func unlabel(label string) (ids []json.RawMessage) {
	if label == "" || len(label) > maxLabel {
		return nil
	}
	for text := range strings.SplitSeq(label, ".") {
		id, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || !json.Valid(id) || !strings.ContainsAny(string(id[:1]), `"-0123456789`) {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// tellLost answers requests whose stream is no more.
func tellLost(ids []json.RawMessage) call.Answer {
	return call.Answer{Stream: func(out *mcp.EventStream) (call.Answer, error) {
		for _, id := range ids {
			if out.Message("", mcp.ErrorResponse(id, mcp.CodeInternalError, "the server lost track of this call, as when it is restarted; look whether it was carried out before trying again")) != nil {
				break
			}
		}
		return call.Answer{}, nil
	}}
}
