package rawjson

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// Span is the half-open byte range [From, To) of a JSON value in its document.
type Span struct{ From, To int }

// Of is the value, nil when there is none.
func (s Span) Of(doc []byte) []byte {
	if !s.Found() {
		return nil
	}
	return doc[s.From:s.To]
}

// Found reports whether there is a value.
func (s Span) Found() bool { return s.To > 0 }

// Moved is s after the value at changed became by bytes longer.
func (s Span) Moved(changed Span, by int) Span {
	if s.From >= changed.To {
		s.From += by
	}
	if s.To >= changed.To {
		s.To += by
	}
	return s
}

// Walker goes over the members of an object in a valid document: Key and Value are
// those of the member it is at.
type Walker struct {
	doc   []byte
	at    int
	Key   []byte // quoted
	Value Span
}

// Walk begins with the object at from, white space before it skipped. ok is false
// when no object is there.
func Walk(doc []byte, from int) (w Walker, ok bool) {
	i := SkipSpace(doc, from)
	if i >= len(doc) || doc[i] != '{' {
		return Walker{}, false
	}
	return Walker{doc: doc, at: SkipSpace(doc, i+1)}, true
}

// Next goes to the next member; false after the last.
func (w *Walker) Next() bool {
	if w.doc[w.at] == '}' {
		return false
	}
	end := SkipString(w.doc, w.at)
	w.Key = w.doc[w.at:end]
	i := SkipSpace(w.doc, end) // at the colon
	i = SkipSpace(w.doc, i+1)  // at the value
	end = skipValue(w.doc, i)
	w.Value = Span{i, end}
	w.at = SkipSpace(w.doc, end)
	if w.doc[w.at] == ',' {
		w.at = SkipSpace(w.doc, w.at+1)
	}
	return true
}

// Items are the values of the array at from in a valid document, white space before it
// skipped. ok is false when no array is there.
func Items(doc []byte, from int) (items []Span, ok bool) {
	i := SkipSpace(doc, from)
	if i >= len(doc) || doc[i] != '[' {
		return nil, false
	}
	for i = SkipSpace(doc, i+1); doc[i] != ']'; {
		end := skipValue(doc, i)
		items = append(items, Span{i, end})
		if i = SkipSpace(doc, end); doc[i] == ',' {
			i = SkipSpace(doc, i+1)
		}
	}
	return items, true
}

// Find returns the span of the value at path below the object that begins at
// from. Of repeated keys the last counts, as with encoding/json.
func Find(doc []byte, from int, path ...string) Span {
	at := Span{from, from}
	for _, name := range path {
		w, ok := Walk(doc, at.From)
		if !ok {
			return Span{}
		}
		var hit Span
		for w.Next() {
			if string(UnquoteKey(w.Key)) == name {
				hit = w.Value
			}
		}
		if !hit.Found() {
			return Span{}
		}
		at = hit
	}
	return at
}

// SkipSpace returns the index after white space.
func SkipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\t' || doc[i] == '\n' || doc[i] == '\r') {
		i++
	}
	return i
}

// SkipString returns the index after the string that begins at i.
func SkipString(doc []byte, i int) int {
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
		return SkipString(doc, i)
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
			i = SkipString(doc, i)
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

// UnquoteKey reads a string of valid JSON.
func UnquoteKey(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // doc is valid JSON
	return []byte(s)
}

// Splice returns doc with the value at the span replaced.
func Splice(doc []byte, at Span, value []byte) []byte {
	out := make([]byte, 0, len(doc)-(at.To-at.From)+len(value))
	out = append(out, doc[:at.From]...)
	out = append(out, value...)
	return append(out, doc[at.To:]...)
}

// The check functions return the index after what begins at i, or -1 when that is
// not valid JSON (RFC 8259). They accept exactly what json.Valid accepts.

// MaxDepth is how deep values may nest; encoding/json has the same limit.
const MaxDepth = 10000

// CheckValue takes one value that stands depth containers deep.
func CheckValue(doc []byte, i, depth int) int {
	var few [64]byte
	open := few[:0] // the containers that are open, each by its first byte
	for {
		if i = SkipSpace(doc, i); i >= len(doc) {
			return -1
		}
		switch c := doc[i]; c {
		case '{', '[':
			if depth+len(open) >= MaxDepth {
				return -1
			}
			open = append(open, c)
			if i = SkipSpace(doc, i+1); i >= len(doc) {
				return -1
			}
			if doc[i] == c+2 { // } and ] stand two after { and [
				break
			}
			if c == '{' {
				if i = CheckKey(doc, i); i < 0 {
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
			if i = SkipSpace(doc, i); i >= len(doc) {
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
				if i = CheckKey(doc, SkipSpace(doc, i)); i < 0 {
					return -1
				}
			}
			break
		}
	}
}

// CheckKey takes a member's key and the colon after it.
func CheckKey(doc []byte, i int) int {
	if i = checkString(doc, i); i < 0 {
		return -1
	}
	if i = SkipSpace(doc, i); i >= len(doc) || doc[i] != ':' {
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
		if i = SkipPlain(doc, i); i >= len(doc) {
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

// SkipPlain returns the index of the first byte from i on that is a quote, a
// backslash or a control character. It looks at eight bytes at a time.
func SkipPlain(doc []byte, i int) int {
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
