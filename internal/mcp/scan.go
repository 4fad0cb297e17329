package mcp

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// span is the half-open byte range [from, to) of a JSON value in its document.
type span struct{ from, to int }

func (s span) of(doc []byte) []byte { return doc[s.from:s.to] }
func (s span) found() bool          { return s.to > 0 }

// moved is s after the value at changed became by bytes longer.
func (s span) moved(changed span, by int) span {
	if s.from >= changed.to {
		s.from += by
	}
	if s.to >= changed.to {
		s.to += by
	}
	return s
}

// walker goes over the members of an object in a valid document.
type walker struct {
	doc   []byte
	at    int
	key   []byte // quoted
	value span
}

// walk begins with the object at from, white space before it skipped. ok is false
// when no object is there.
func walk(doc []byte, from int) (w walker, ok bool) {
	i := skipSpace(doc, from)
	if i >= len(doc) || doc[i] != '{' {
		return walker{}, false
	}
	return walker{doc: doc, at: skipSpace(doc, i+1)}, true
}

// next goes to the next member; false after the last.
func (w *walker) next() bool {
	if w.doc[w.at] == '}' {
		return false
	}
	end := skipString(w.doc, w.at)
	w.key = w.doc[w.at:end]
	i := skipSpace(w.doc, end) // at the colon
	i = skipSpace(w.doc, i+1)  // at the value
	end = skipValue(w.doc, i)
	w.value = span{i, end}
	w.at = skipSpace(w.doc, end)
	if w.doc[w.at] == ',' {
		w.at = skipSpace(w.doc, w.at+1)
	}
	return true
}

// find returns the span of the value at path below the object that begins at
// from. Of repeated keys the last counts, as with encoding/json.
func find(doc []byte, from int, path ...string) span {
	at := span{from, from}
	for _, name := range path {
		w, ok := walk(doc, at.from)
		if !ok {
			return span{}
		}
		var hit span
		for w.next() {
			if string(unquoteKey(w.key)) == name {
				hit = w.value
			}
		}
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
	for i < len(doc) && !ends[doc[i]] {
		i++
	}
	return i
}

// ends are the bytes that follow a number or a literal.
var ends = [256]bool{',': true, ']': true, '}': true, ' ': true, '\t': true, '\r': true, '\n': true}

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

// splice returns doc with the value at the span replaced.
func splice(doc []byte, at span, value []byte) []byte {
	out := make([]byte, 0, len(doc)-(at.to-at.from)+len(value))
	out = append(out, doc[:at.from]...)
	out = append(out, value...)
	return append(out, doc[at.to:]...)
}

// The check functions return the index after what begins at i, or -1 when that is
// not valid JSON (RFC 8259). They accept exactly what json.Valid accepts.

// maxDepth is how deep values may nest; encoding/json has the same limit.
const maxDepth = 10000

// checkValue takes one value that stands depth containers deep.
func checkValue(doc []byte, i, depth int) int {
	var few [64]byte
	open := few[:0] // the containers that are open, each by its first byte
	for {
		if i = skipSpace(doc, i); i >= len(doc) {
			return -1
		}
		switch c := doc[i]; c {
		case '{', '[':
			if depth+len(open) >= maxDepth {
				return -1
			}
			open = append(open, c)
			if i = skipSpace(doc, i+1); i >= len(doc) {
				return -1
			}
			if doc[i] == c+2 { // } and ] stand two after { and [
				break
			}
			if c == '{' {
				if i = checkKey(doc, i); i < 0 {
					return -1
				}
			}
			continue
		default:
			if i = checkScalar(doc, i); i < 0 {
				return -1
			}
		}
		// After a value: close what ends here, or go to the next.
		for {
			if len(open) == 0 {
				return i
			}
			if i = skipSpace(doc, i); i >= len(doc) {
				return -1
			}
			last := open[len(open)-1]
			if doc[i] == last+2 {
				open = open[:len(open)-1]
				i++
				continue
			}
			if doc[i] != ',' {
				return -1
			}
			i++
			if last == '{' {
				if i = checkKey(doc, skipSpace(doc, i)); i < 0 {
					return -1
				}
			}
			break
		}
	}
}

// checkKey takes a member's key and the colon after it.
func checkKey(doc []byte, i int) int {
	if i = checkString(doc, i); i < 0 {
		return -1
	}
	if i = skipSpace(doc, i); i >= len(doc) || doc[i] != ':' {
		return -1
	}
	return i + 1
}

func checkScalar(doc []byte, i int) int {
	switch doc[i] {
	case '"':
		return checkString(doc, i)
	case 't':
		return checkLiteral(doc, i, "true")
	case 'f':
		return checkLiteral(doc, i, "false")
	case 'n':
		return checkLiteral(doc, i, "null")
	}
	return checkNumber(doc, i)
}

func checkLiteral(doc []byte, i int, word string) int {
	if end := i + len(word); end <= len(doc) && string(doc[i:end]) == word {
		return end
	}
	return -1
}

func checkString(doc []byte, i int) int {
	if i >= len(doc) || doc[i] != '"' {
		return -1
	}
	for i++; ; {
		if i = plain(doc, i); i >= len(doc) {
			return -1
		}
		switch doc[i] {
		case '"':
			return i + 1
		case '\\':
			if i = checkEscape(doc, i); i < 0 {
				return -1
			}
		default: // a control character
			return -1
		}
	}
}

// plain returns the index of the first byte from i on that is a quote, a
// backslash or a control character. It looks at eight bytes at a time.
func plain(doc []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(doc); i += 8 {
		x := binary.LittleEndian.Uint64(doc[i:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		// The high bit of the lowest byte that is sought is set, and of none below.
		hit := ((x-ones*0x20)&^x | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(doc) && doc[i] >= 0x20 && doc[i] != '"' && doc[i] != '\\' {
		i++
	}
	return i
}

func checkEscape(doc []byte, i int) int {
	if i+1 >= len(doc) {
		return -1
	}
	switch doc[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
	default:
		return -1
	}
	if i += 6; i > len(doc) {
		return -1
	}
	for _, c := range doc[i-4 : i] {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return -1
		}
	}
	return i
}

func checkNumber(doc []byte, i int) int {
	if doc[i] == '-' {
		i++
	}
	if i < len(doc) && doc[i] == '0' {
		i++
	} else if i = checkDigits(doc, i); i < 0 {
		return -1
	}
	if i < len(doc) && doc[i] == '.' {
		if i = checkDigits(doc, i+1); i < 0 {
			return -1
		}
	}
	if i < len(doc) && (doc[i] == 'e' || doc[i] == 'E') {
		i++
		if i < len(doc) && (doc[i] == '+' || doc[i] == '-') {
			i++
		}
		return checkDigits(doc, i)
	}
	return i
}

// checkDigits takes one digit or more.
func checkDigits(doc []byte, i int) int {
	from := i
	for i < len(doc) && '0' <= doc[i] && doc[i] <= '9' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}
