package mcp

import (
	"encoding/json"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
)

// WithResult returns a response's bytes with another result. The message must
// have one.
func (m Message) WithResult(result json.RawMessage) []byte {
	return rawjson.Splice(m.Raw, m.result, result)
}

// WithParams returns the bytes of a request or notification with other params.
func (m Message) WithParams(params json.RawMessage) []byte {
	if m.params.Found() {
		return rawjson.Splice(m.Raw, m.params, params)
	}
	return rawjson.With(m.Raw, rawjson.Member{Name: "params", Value: params})
}

// ErrorField returns the raw JSON of a member of error, nil when there is none.
func (m Message) ErrorField(name string) json.RawMessage {
	return m.below(m.err, name).Of(m.Raw)
}

// ErrorCode returns the code of a response that carries an error, 0 when it has
// none.
func (m Message) ErrorCode() int {
	var code int
	_ = json.Unmarshal(m.ErrorField("code"), &code) // what is no integer is no code
	return code
}

// WithErrorCode returns an error response's bytes with another code.
func (m Message) WithErrorCode(code int) []byte {
	value, _ := json.Marshal(code)
	return rawjson.Splice(m.Raw, m.below(m.err, "code"), value)
}
