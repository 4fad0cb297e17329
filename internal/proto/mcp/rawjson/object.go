// Package rawjson finds and replaces values in JSON text without decoding it, so
// that everything else stays byte for byte: the bounds of values, the members of
// objects, and whether text is valid at all.
//
// Package mcp builds on it.
package rawjson

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
	at := SkipSpace(object, 0)
	if at >= len(object) || object[at] != '{' {
		object, at = json.RawMessage("{}"), 0
	}
	var first bytes.Buffer
	for _, m := range set {
		if stands := Find(object, at, m.Name); stands.Found() {
			object = Splice(object, stands, m.Value)
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
	if object[SkipSpace(object, at+1)] == '}' {
		added = bytes.TrimSuffix(added, []byte(","))
	}
	return Splice(object, Span{at + 1, at + 1}, added)
}

// Without returns a JSON object without a member. What is not an object is returned
// as it is.
func Without(object json.RawMessage, name string) json.RawMessage {
	w, ok := Walk(object, 0)
	if !ok {
		return object
	}
	var kept bytes.Buffer
	for w.Next() {
		if string(UnquoteKey(w.Key)) == name {
			continue
		}
		kept.WriteByte(',')
		kept.Write(w.Key)
		kept.WriteByte(':')
		kept.Write(w.Value.Of(object))
	}
	return append(append([]byte("{"), bytes.TrimPrefix(kept.Bytes(), []byte(","))...), '}')
}
