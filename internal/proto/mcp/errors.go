package mcp

import "encoding/json"

// Error codes of JSON-RPC 2.0 §5.1 and of MCP.
const (
	CodeParseError     = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternalError  = -32603
	// CodeServerError is the implementation-defined code fjmcp uses for what
	// the caller may try again later or elsewhere.
	CodeServerError = -32000
	// CodeSessionNotFound goes with HTTP 404; clients match it and its text.
	CodeSessionNotFound = -32001
	// CodeResourceNotFound is of the revisions with a handshake; 2026-07-28 says
	// CodeInvalidParams instead and forbids it.
	CodeResourceNotFound = -32002
	// CodeURLElicitation is of 2025-11-25, and forbidden thereafter. Its data lists
	// what the user has to open first.
	CodeURLElicitation = -32042
)

// Error codes of revision 2026-07-28, each with HTTP 400.
const (
	CodeHeaderMismatch     = -32020
	CodeMissingCapability  = -32021 // data: requiredCapabilities
	CodeUnsupportedVersion = -32022 // data: supported, requested
)

// SessionNotFound is the message clients look for in a 404.
const SessionNotFound = "Session not found"

// ToolError returns a response to tools/call that tells the model in text that
// the call failed (MCP 2025-11-25, Tools, Error Handling). It has what 2026-07-28 wants
// of results; older revisions take members that they do not know.
func ToolError(id json.RawMessage, text string) []byte {
	content := []any{map[string]string{"type": "text", "text": text}}
	b, _ := json.Marshal(map[string]any{"content": content, "isError": true, "resultType": "complete"})
	return ResultResponse(id, b)
}

// EmptyResult returns a response that says no more than that all is well.
func EmptyResult(id json.RawMessage) []byte { return ResultResponse(id, json.RawMessage("{}")) }

// ErrorResponse returns a JSON-RPC error response. A nil id becomes null.
func ErrorResponse(id json.RawMessage, code int, message string) []byte {
	return ErrorResponseWith(id, code, message, nil)
}

// ErrorResponseWith is ErrorResponse with a data member, unless data is nil.
func ErrorResponseWith(id json.RawMessage, code int, message string, data any) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	type rpcError struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}
	b, _ := json.Marshal(rpcError{code, message, data})
	return response(id, "error", b)
}

// NewRequest returns a request. The method is one of the constants.
func NewRequest(id json.RawMessage, method string, params json.RawMessage) []byte {
	return append(append(append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":"`+method+`","params":`...), params...), '}')
}

// NewNotification returns a notification. The method is one of the constants.
func NewNotification(method string, params json.RawMessage) []byte {
	return append(append([]byte(`{"jsonrpc":"2.0","method":"`+method+`","params":`), params...), '}')
}

// Initialized tells a server that its answer to initialize was taken.
func Initialized() Message {
	raw := []byte(`{"jsonrpc":"2.0","method":"` + MethodInitialized + `"}`)
	return Message{Raw: raw, Kind: Notification, Method: MethodInitialized}
}

// ResultResponse returns a JSON-RPC response with a result.
func ResultResponse(id, result json.RawMessage) []byte { return response(id, "result", result) }

// response puts values into a response as they are.
func response(id json.RawMessage, name string, value []byte) []byte {
	b := append(make([]byte, 0, len(id)+len(value)+40), `{"jsonrpc":"2.0","id":`...)
	b = append(append(b, id...), `,"`+name+`":`...)
	return append(append(b, value...), '}')
}
