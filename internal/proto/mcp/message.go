package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
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

	id     rawjson.Span
	params rawjson.Span
	result rawjson.Span
	err    rawjson.Span
}

// Errors of Parse.
var (
	// ErrNotJSON: the bytes are not one JSON value. Answer with CodeParseError.
	ErrNotJSON = errors.New("not valid JSON")
	// ErrNotUTF8 is an ErrNotJSON: JSON between systems is UTF-8 (RFC 8259 §8.1).
	ErrNotUTF8 = fmt.Errorf("%w: it holds bytes that are not UTF-8", ErrNotJSON)
	// ErrNotMessage: JSON, but not a JSON-RPC 2.0 message. Answer with CodeInvalidRequest.
	ErrNotMessage = errors.New("not a JSON-RPC 2.0 message")
)

// Parse reads the envelope of one message. It refuses envelope members and tool
// names that stand twice or in another case, which different readers would take
// differently (encoding/json folds case): what is audited must be what is done.
// It refuses requests whose id is neither a string nor a number (MCP forbids
// null).
func Parse(raw []byte) (Message, error) {
	m := Message{Raw: raw}
	if !utf8.Valid(raw) {
		return Message{}, ErrNotUTF8
	}
	var version, method rawjson.Span
	switch repeated, err := m.envelope(&version, &method); {
	case err != nil:
		return Message{}, err
	case repeated:
		return Message{}, fmt.Errorf("%w: a member stands twice or in another case", ErrNotMessage)
	case string(version.Of(raw)) != `"2.0"`:
		return Message{}, fmt.Errorf(`%w: "jsonrpc" must be "2.0"`, ErrNotMessage)
	}
	if err := m.classify(method); err != nil {
		return Message{}, err
	}
	return m, m.checkToolName()
}

// envelope checks that raw is one JSON object and notes where the envelope's
// members stand, in one pass. repeated: one of them stands twice or in another
// case.
func (m *Message) envelope(version, method *rawjson.Span) (repeated bool, err error) {
	doc := m.Raw
	i := rawjson.SkipSpace(doc, 0)
	if i >= len(doc) || doc[i] != '{' {
		if end := rawjson.CheckValue(doc, i, 0); end < 0 || rawjson.SkipSpace(doc, end) < len(doc) {
			return false, ErrNotJSON
		}
		return false, fmt.Errorf("%w: not an object", ErrNotMessage)
	}
	i = rawjson.SkipSpace(doc, i+1)
	for first := true; i < len(doc) && (doc[i] != '}' || !first); first = false {
		from := i
		if i = rawjson.CheckKey(doc, from); i < 0 {
			return false, ErrNotJSON
		}
		key := doc[from:rawjson.SkipString(doc, from)]
		from = rawjson.SkipSpace(doc, i)
		if i = rawjson.CheckValue(doc, from, 1); i < 0 {
			return false, ErrNotJSON
		}
		slot, exact := m.slot(rawjson.UnquoteKey(key), version, method)
		if slot != nil {
			repeated = repeated || !exact || slot.Found()
			*slot = rawjson.Span{From: from, To: i}
		}
		if i = rawjson.SkipSpace(doc, i); i < len(doc) && doc[i] == '}' {
			break
		}
		if i >= len(doc) || doc[i] != ',' {
			return false, ErrNotJSON
		}
		i = rawjson.SkipSpace(doc, i+1)
	}
	if i >= len(doc) || rawjson.SkipSpace(doc, i+1) < len(doc) {
		return false, ErrNotJSON
	}
	return repeated, nil
}

// slot is where the span of an envelope member goes; nil for any other. exact is
// false when the key is the member's but for case, as encoding/json folds it.
func (m *Message) slot(key []byte, version, method *rawjson.Span) (slot *rawjson.Span, exact bool) {
	for _, member := range [...]struct {
		name string
		slot *rawjson.Span
	}{
		{"jsonrpc", version}, {"id", &m.id}, {"method", method},
		{"params", &m.params}, {"result", &m.result}, {"error", &m.err},
	} {
		if len(key) <= 2*len(member.name) && strings.EqualFold(string(key), member.name) {
			return member.slot, string(key) == member.name
		}
	}
	return nil, false
}

func (m *Message) checkToolName() error {
	if m.Method != MethodToolsCall || !m.params.Found() {
		return nil
	}
	names := 0
	w, ok := rawjson.Walk(m.Raw, m.params.From)
	for ok && w.Next() {
		if strings.EqualFold(string(rawjson.UnquoteKey(w.Key)), "name") {
			names++
		}
	}
	if names > 1 {
		return fmt.Errorf(`%w: "name" stands twice`, ErrNotMessage)
	}
	return nil
}

func (m *Message) classify(method rawjson.Span) error {
	if method.Found() {
		if m.Method = text(method.Of(m.Raw)); m.Method == "" {
			return fmt.Errorf(`%w: "method" must be a string`, ErrNotMessage)
		}
		if !m.id.Found() {
			m.Kind = Notification
			return nil
		}
		m.Kind = Request
		return m.checkID()
	}
	if m.result.Found() == m.err.Found() {
		return fmt.Errorf(`%w: neither a "method" nor exactly one of "result" and "error"`, ErrNotMessage)
	}
	m.Kind = Response
	if m.err.Found() && string(m.ID()) == "null" {
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
func (m Message) ID() json.RawMessage { return m.id.Of(m.Raw) }

// Params returns the raw JSON of params, nil when there is none.
func (m Message) Params() json.RawMessage { return m.params.Of(m.Raw) }

// Result returns the raw JSON of result, nil when there is none.
func (m Message) Result() json.RawMessage { return m.result.Of(m.Raw) }

// IsError reports whether a response carries an error.
func (m Message) IsError() bool { return m.err.Found() }

// Param returns the raw JSON at path below params, nil when there is none.
func (m Message) Param(path ...string) json.RawMessage {
	return m.below(m.params, path...).Of(m.Raw)
}

// ParamString returns the string at path below params, "" when there is none.
func (m Message) ParamString(path ...string) string { return text(m.Param(path...)) }

// ResultField returns the raw JSON at path below result, nil when there is none.
func (m Message) ResultField(path ...string) json.RawMessage {
	return m.below(m.result, path...).Of(m.Raw)
}

// ResultString returns the string at path below result, "" when there is none.
func (m Message) ResultString(path ...string) string { return text(m.ResultField(path...)) }

// Failed reports whether a response carries an error, or the result of a tool that
// says it failed (isError).
func (m Message) Failed() bool {
	return m.IsError() || string(m.ResultField("isError")) == "true"
}

// CheckResponse finds what makes a response none to clients, who would wait on: a result
// that is no object (MCP, Result), or an error without an integer code and a message
// (JSON-RPC 2.0 §5.1).
func (m Message) CheckResponse() error {
	if !m.IsError() {
		if m.Result()[0] != '{' {
			return fmt.Errorf(`%w: "result" must be an object`, ErrNotMessage)
		}
		return nil
	}
	var code int
	if json.Unmarshal(m.ErrorField("code"), &code) != nil || len(m.ErrorField("message")) == 0 || m.ErrorField("message")[0] != '"' {
		return fmt.Errorf(`%w: "error" must have an integer code and a message`, ErrNotMessage)
	}
	return nil
}

// WithID returns the message's bytes with another id. The message must have one.
func (m Message) WithID(id json.RawMessage) []byte { return rawjson.Splice(m.Raw, m.id, id) }

// Renumbered is the message with another id. It must have one.
func (m Message) Renumbered(id json.RawMessage) Message { return m.with(m.id, id) }

// ResultAt is where the result begins in Raw, 0 when there is none.
func (m Message) ResultAt() int { return m.result.From }

// WithParam returns the message with the value at path below params replaced;
// the message itself when nothing stands there. value must be valid JSON.
func (m Message) WithParam(value json.RawMessage, path ...string) Message {
	return m.with(m.below(m.params, path...), value)
}

// WithResultField is WithParam for a path below result.
func (m Message) WithResultField(value json.RawMessage, path ...string) Message {
	return m.with(m.below(m.result, path...), value)
}

// with replaces a value inside params or result.
func (m Message) with(at rawjson.Span, value []byte) Message {
	if !at.Found() {
		return m
	}
	m.Raw = rawjson.Splice(m.Raw, at, value)
	by := len(value) - (at.To - at.From)
	for _, s := range []*rawjson.Span{&m.id, &m.params, &m.result, &m.err} {
		*s = s.Moved(at, by)
	}
	return m
}

// LineWith returns the message as one line of the stdio transport (see Line) under
// another id and, unless token is nil, with another progress token in place of the
// one it has.
func (m Message) LineWith(id, token json.RawMessage) []byte {
	first, second := edit{m.id, id}, edit{}
	if token != nil {
		second = edit{m.below(m.params, "_meta", "progressToken"), token}
	}
	if second.at.Found() && second.at.From < first.at.From {
		first, second = second, first
	}
	line := make([]byte, 0, len(m.Raw)+len(id)+len(token)+1)
	done := 0
	for _, e := range [...]edit{first, second} {
		if e.at.Found() {
			line = append(append(line, m.Raw[done:e.at.From]...), e.value...)
			done = e.at.To
		}
	}
	line = append(line, m.Raw[done:]...)
	unbreak(line)
	return append(line, '\n')
}

// edit is a value to be put in another's place.
type edit struct {
	at    rawjson.Span
	value []byte
}

// below is where the value at path below an envelope member stands.
func (m Message) below(member rawjson.Span, path ...string) rawjson.Span {
	if !member.Found() {
		return rawjson.Span{}
	}
	return rawjson.Find(m.Raw, member.From, path...)
}

func text(raw json.RawMessage) string {
	if n := len(raw); n >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : n-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// Line returns raw as one line of the stdio transport: without line breaks,
// which valid JSON holds only between tokens, and with one at its end.
func Line(raw []byte) []byte {
	line := append(append(make([]byte, 0, len(raw)+1), raw...), '\n')
	unbreak(line[:len(raw)])
	return line
}

// unbreak replaces line breaks by spaces.
func unbreak(line []byte) {
	for _, c := range []byte{'\n', '\r'} {
		for rest := line; ; {
			i := bytes.IndexByte(rest, c)
			if i < 0 {
				break
			}
			rest[i] = ' '
			rest = rest[i+1:]
		}
	}
}

// IsBatch reports whether raw is a JSON array.
func IsBatch(raw []byte) bool {
	i := rawjson.SkipSpace(raw, 0)
	return i < len(raw) && raw[i] == '['
}

// maxBatch is how many messages a batch may hold.
const maxBatch = 100

// Batch returns the 1 to 100 values of a JSON array (see IsBatch), each yet to be
// parsed: one that is no message does not keep the others from being taken (JSON-RPC
// 2.0 §6). Errors are those of Parse.
func Batch(raw []byte) (items []json.RawMessage, err error) {
	if !utf8.Valid(raw) {
		return nil, ErrNotUTF8
	}
	if end := rawjson.CheckValue(raw, 0, 0); end < 0 || rawjson.SkipSpace(raw, end) < len(raw) {
		return nil, ErrNotJSON
	}
	i := rawjson.SkipSpace(raw, rawjson.SkipSpace(raw, 0)+1)
	for raw[i] != ']' && len(items) <= maxBatch {
		end := rawjson.CheckValue(raw, i, 1)
		items = append(items, raw[i:end])
		if i = rawjson.SkipSpace(raw, end); raw[i] == ',' {
			i = rawjson.SkipSpace(raw, i+1)
		}
	}
	if len(items) == 0 || len(items) > maxBatch {
		return nil, fmt.Errorf("%w: a batch holds 1 to %d messages", ErrNotMessage, maxBatch)
	}
	return items, nil
}

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
	_ = json.Unmarshal(m.ErrorField("code"), &code) // what is not an integer is no code
	return code
}

// WithErrorCode returns an error response's bytes with another code.
func (m Message) WithErrorCode(code int) []byte {
	value, _ := json.Marshal(code)
	return rawjson.Splice(m.Raw, m.below(m.err, "code"), value)
}
