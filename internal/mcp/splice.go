package mcp

import (
	"bytes"
	"encoding/json"
)

// Member is a member of a JSON object.
type Member struct {
	Name  string
	Value json.RawMessage
}

// With returns a JSON object with members set: in the place of those that stand
// there, else before all others. Everything else stays byte for byte. What is no
// object, such as nil, gives way to one.
func With(object json.RawMessage, set ...Member) json.RawMessage {
	at := skipSpace(object, 0)
	if at >= len(object) || object[at] != '{' {
		object, at = json.RawMessage("{}"), 0
	}
	var first bytes.Buffer
	for _, m := range set {
		if stands := find(object, at, m.Name); stands.found() {
			object = splice(object, stands, m.Value)
			continue
		}
		name, _ := json.Marshal(m.Name)
		first.Write(name)
		first.WriteByte(':')
		first.Write(m.Value)
		first.WriteByte(',')
	}
	added := first.Bytes()
	if len(added) == 0 {
		return object
	}
	if object[skipSpace(object, at+1)] == '}' {
		added = bytes.TrimSuffix(added, []byte(","))
	}
	return splice(object, span{at + 1, at + 1}, added)
}

// Without returns a JSON object without a member. What is no object is returned
// as it is.
func Without(object json.RawMessage, name string) json.RawMessage {
	w, ok := walk(object, 0)
	if !ok {
		return object
	}
	var kept bytes.Buffer
	for w.next() {
		if string(unquoteKey(w.key)) == name {
			continue
		}
		kept.WriteByte(',')
		kept.Write(w.key)
		kept.WriteByte(':')
		kept.Write(w.value.of(object))
	}
	return append(append([]byte("{"), bytes.TrimPrefix(kept.Bytes(), []byte(","))...), '}')
}

// WithResult returns a response's bytes with another result. The message must
// have one.
func (m Message) WithResult(result json.RawMessage) []byte { return splice(m.Raw, m.result, result) }

// WithParams returns the bytes of a request or notification with other params.
func (m Message) WithParams(params json.RawMessage) []byte {
	if m.params.found() {
		return splice(m.Raw, m.params, params)
	}
	return With(m.Raw, Member{"params", params})
}

// ErrorField returns the raw JSON of a member of error, nil when there is none.
func (m Message) ErrorField(name string) json.RawMessage {
	if at := m.errorField(name); at.found() {
		return at.of(m.Raw)
	}
	return nil
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
	return splice(m.Raw, m.errorField("code"), value)
}

func (m Message) errorField(name string) span {
	if !m.err.found() {
		return span{}
	}
	return find(m.Raw, m.err.from, name)
}
