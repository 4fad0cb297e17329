package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Kind says what a message is (JSON-RPC 2.0 §4, §5).
type Kind int

// Kinds of messages.
const (
	Request Kind = iota + 1
	Notification
	Response
)

// Message is one JSON-RPC message. Raw is never changed in place.
type Message struct {
	Raw    []byte
	Kind   Kind
	Method string // of requests and notifications

	id     span
	params span
	result span
	err    span
}

// Errors of Parse.
var (
	// ErrNotJSON: the bytes are not one JSON value. Answer with CodeParseError.
	ErrNotJSON = errors.New("not valid JSON")
	// ErrNotMessage: JSON, but not a JSON-RPC 2.0 message. Answer with CodeInvalidRequest.
	ErrNotMessage = errors.New("not a JSON-RPC 2.0 message")
)

// Parse reads the envelope of one message. It refuses envelope members and tool
// names that stand twice or in another case, which different readers would take
// differently (encoding/json folds case): what is audited must be what is done.
// It refuses requests whose id is neither a string nor a number (MCP forbids
// null).
func Parse(raw []byte) (Message, error) {
	if !json.Valid(raw) {
		return Message{}, ErrNotJSON
	}
	m := Message{Raw: raw}
	var version, method span
	slots := map[string]*span{"jsonrpc": &version, "id": &m.id, "method": &method, "params": &m.params, "result": &m.result, "error": &m.err}
	repeated := false
	object := members(raw, 0, func(key []byte, value span) {
		slot, ok := slots[strings.ToLower(string(key))]
		if !ok {
			return
		}
		repeated = repeated || slot.found() || slots[string(key)] == nil
		*slot = value
	})
	switch {
	case !object:
		return Message{}, fmt.Errorf("%w: not an object", ErrNotMessage)
	case repeated:
		return Message{}, fmt.Errorf("%w: a member stands twice or in another case", ErrNotMessage)
	case string(version.of(raw)) != `"2.0"`:
		return Message{}, fmt.Errorf(`%w: "jsonrpc" must be "2.0"`, ErrNotMessage)
	}
	if err := m.classify(method); err != nil {
		return Message{}, err
	}
	return m, m.checkToolName()
}

func (m *Message) checkToolName() error {
	if m.Method != MethodToolsCall || !m.params.found() {
		return nil
	}
	names := 0
	members(m.Raw, m.params.from, func(key []byte, _ span) {
		if strings.EqualFold(string(key), "name") {
			names++
		}
	})
	if names > 1 {
		return fmt.Errorf(`%w: "name" stands twice`, ErrNotMessage)
	}
	return nil
}

func (m *Message) classify(method span) error {
	if method.found() {
		if err := json.Unmarshal(method.of(m.Raw), &m.Method); err != nil || m.Method == "" {
			return fmt.Errorf(`%w: "method" must be a string`, ErrNotMessage)
		}
		if !m.id.found() {
			m.Kind = Notification
			return nil
		}
		m.Kind = Request
		return m.checkID()
	}
	if m.result.found() == m.err.found() {
		return fmt.Errorf(`%w: neither a "method" nor exactly one of "result" and "error"`, ErrNotMessage)
	}
	m.Kind = Response
	if m.err.found() && string(m.ID()) == "null" {
		return nil // an error about a message whose id could not be read
	}
	return m.checkID()
}

func (m *Message) checkID() error {
	id := m.ID()
	if len(id) == 0 || id[0] != '"' && id[0] != '-' && (id[0] < '0' || id[0] > '9') {
		return fmt.Errorf(`%w: "id" must be a string or a number`, ErrNotMessage)
	}
	return nil
}

// ID returns the raw JSON of the id, nil when there is none.
func (m Message) ID() json.RawMessage {
	if !m.id.found() {
		return nil
	}
	return m.id.of(m.Raw)
}

// Params returns the raw JSON of params, nil when there is none.
func (m Message) Params() json.RawMessage {
	if !m.params.found() {
		return nil
	}
	return m.params.of(m.Raw)
}

// Result returns the raw JSON of result, nil when there is none.
func (m Message) Result() json.RawMessage {
	if !m.result.found() {
		return nil
	}
	return m.result.of(m.Raw)
}

// IsError reports whether a response carries an error.
func (m Message) IsError() bool { return m.err.found() }

// Param returns the raw JSON at path below params, nil when there is none.
func (m Message) Param(path ...string) json.RawMessage {
	if at := m.param(path...); at.found() {
		return at.of(m.Raw)
	}
	return nil
}

// ParamString returns the string at path below params, "" when there is none.
func (m Message) ParamString(path ...string) string { return text(m.Param(path...)) }

// ResultField returns the raw JSON at path below result, nil when there is none.
func (m Message) ResultField(path ...string) json.RawMessage {
	if !m.result.found() {
		return nil
	}
	if at := find(m.Raw, m.result.from, path...); at.found() {
		return at.of(m.Raw)
	}
	return nil
}

// ResultString returns the string at path below result, "" when there is none.
func (m Message) ResultString(path ...string) string { return text(m.ResultField(path...)) }

// WithID returns the message's bytes with another id. The message must have one.
func (m Message) WithID(id json.RawMessage) []byte { return splice(m.Raw, m.id, id) }

// WithParam returns the message with the value at path below params replaced;
// the message itself when nothing stands there.
func (m Message) WithParam(value json.RawMessage, path ...string) Message {
	at := m.param(path...)
	if !at.found() {
		return m
	}
	changed, err := Parse(splice(m.Raw, at, value))
	if err != nil { // only when value is not JSON
		return m
	}
	return changed
}

func (m Message) param(path ...string) span {
	if !m.params.found() {
		return span{}
	}
	return find(m.Raw, m.params.from, path...)
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// Line returns raw as one line of the stdio transport: without line breaks,
// which valid JSON holds only between tokens, and with one at its end.
func Line(raw []byte) []byte {
	line := make([]byte, 0, len(raw)+1)
	if bytes.ContainsAny(raw, "\r\n") {
		raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r"), []byte(" ")), []byte("\n"), []byte(" "))
	}
	return append(append(line, raw...), '\n')
}

// IsBatch reports whether raw is a JSON array.
func IsBatch(raw []byte) bool {
	i := skipSpace(raw, 0)
	return i < len(raw) && raw[i] == '['
}

// maxBatch is how many messages a batch may hold.
const maxBatch = 100

// ParseBatch reads a JSON array of 1 to 100 messages (JSON-RPC 2.0 §6). An
// initialize request must not stand in one (2025-03-26, Lifecycle).
func ParseBatch(raw []byte) ([]Message, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, ErrNotJSON
	}
	if len(items) == 0 || len(items) > maxBatch {
		return nil, fmt.Errorf("%w: a batch holds 1 to %d messages", ErrNotMessage, maxBatch)
	}
	all := make([]Message, len(items))
	for i, item := range items {
		m, err := Parse(item)
		if err != nil {
			return nil, err
		}
		if m.Method == MethodInitialize {
			return nil, fmt.Errorf("%w: initialize must not stand in a batch", ErrNotMessage)
		}
		all[i] = m
	}
	return all, nil
}
