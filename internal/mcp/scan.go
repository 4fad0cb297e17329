package mcp

import (
	"bytes"
	"encoding/json"
)

// span is the half-open byte range [from, to) of a JSON value in its document.
type span struct{ from, to int }

func (s span) of(doc []byte) []byte { return doc[s.from:s.to] }
func (s span) found() bool          { return s.to > 0 }

// members calls visit with each key and the span of its value in the object
// that begins at from (white space before it is skipped). doc must be valid
// JSON. It reports whether the value is an object.
func members(doc []byte, from int, visit func(key []byte, value span)) bool {
	i := skipSpace(doc, from)
	if i >= len(doc) || doc[i] != '{' {
		return false
	}
	i = skipSpace(doc, i+1)
	for doc[i] != '}' {
		end := skipString(doc, i)
		key := unquoteKey(doc[i:end])
		i = skipSpace(doc, end) // at the colon
		i = skipSpace(doc, i+1) // at the value
		end = skipValue(doc, i)
		visit(key, span{i, end})
		i = skipSpace(doc, end)
		if doc[i] == ',' {
			i = skipSpace(doc, i+1)
		}
	}
	return true
}

// find returns the span of the value at path below the object that begins at
// from. Of repeated keys the last counts, as with encoding/json.
func find(doc []byte, from int, path ...string) span {
	at := span{from, from}
	for _, name := range path {
		var hit span
		members(doc, at.from, func(key []byte, value span) {
			if string(key) == name {
				hit = value
			}
		})
		if !hit.found() {
			return span{}
		}
		at = hit
	}
	return at
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\t' || doc[i] == '\n' || doc[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i.
func skipString(doc []byte, i int) int {
	i++
	for {
		n := bytes.IndexByte(doc[i:], '"')
		end := i + n
		slashes := 0
		for doc[end-1-slashes] == '\\' {
			slashes++
		}
		i = end + 1
		if slashes%2 == 0 {
			return i
		}
	}
}

// skipValue returns the index after the value that begins at i.
func skipValue(doc []byte, i int) int {
	switch doc[i] {
	case '"':
		return skipString(doc, i)
	case '{', '[':
		return skipNested(doc, i)
	}
	for i < len(doc) && !bytes.ContainsRune([]byte(",]} \t\r\n"), rune(doc[i])) {
		i++
	}
	return i
}

func skipNested(doc []byte, i int) int {
	depth := 0
	for {
		switch doc[i] {
		case '"':
			i = skipString(doc, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
}

func unquoteKey(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // doc is valid JSON
	return []byte(s)
}

func splice(doc []byte, at span, value []byte) []byte {
	out := make([]byte, 0, len(doc)-(at.to-at.from)+len(value))
	out = append(out, doc[:at.from]...)
	out = append(out, value...)
	return append(out, doc[at.to:]...)
}
