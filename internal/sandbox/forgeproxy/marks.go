package forgeproxy

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
)

const (
	markLength  = 24 // bytes of a token that are looked for, of those that cannot be guessed
	leastSecret = 16 // what is shorter is no secret, and stands in answers by chance
	gram        = 8  // bytes compared at once, in one case
	filterBits  = 14 // 16 KiB, which the processor's nearest cache holds beside a chunk's part
)

// marks are what a token shows by, in each form in which a server may write it. Case
// makes no difference. nil has none.
type marks struct {
	forms  []string
	first  [256]bool             // the forms' first bytes
	filter [1 << filterBits]bool // by the hash of each gram of the forms
	grams  map[uint64]struct{}   // of the forms; few of other texts pass the filter
	stride int                   // of this many places one begins a gram that lies within a form
}

func newMarks(tokens ...string) *marks {
	m := new(marks)
	for _, token := range tokens {
		if len(token) >= leastSecret {
			m.forms = append(m.forms, forms(token)...)
		}
	}
	if len(m.forms) == 0 {
		return nil
	}
	for i, form := range m.forms {
		m.forms[i] = strings.Map(func(r rune) rune { return r | ' ' }, form)
	}
	slices.Sort(m.forms)
	m.forms = slices.Compact(m.forms)
	m.stride = len(slices.MinFunc(m.forms, func(a, b string) int { return len(a) - len(b) })) - gram + 1
	m.grams = make(map[uint64]struct{}, len(m.forms)*m.stride)
	for _, form := range m.forms {
		m.first[form[0]] = true
		for i := range m.stride {
			g := gramOf([]byte(form[i : i+gram]))
			m.grams[g], m.filter[hash(g)] = struct{}{}, true
		}
	}
	return m
}

// forms are those of the bytes from which a token is secret. In a JWT they begin after
// the last dot; a part of them is all it takes to find it.
func forms(token string) []string {
	if _, signature, _ := cutLast(token, "."); len(signature) >= markLength {
		token = signature
	}
	secret := token[:min(len(token), markLength)]
	plain := []string{secret}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // as many bytes stand before it in the first group of three
			whole := encoding.EncodeToString(append(make([]byte, before), secret...))
			plain = append(plain, whole[(before*8+5)/6:(before+len(secret))*8/6])
		}
	}
	var all []string
	for _, p := range plain {
		quoted, _ := json.Marshal(p)
		all = append(all, p, string(quoted[1:len(quoted)-1]), strings.ReplaceAll(p, "/", `\/`), html.EscapeString(p), url.QueryEscape(p), url.PathEscape(p))
	}
	for _, every := range []string{"%%%02x", `\u%04x`, `\x%02x`, "&#x%x;", "&#%d;"} { // each byte escaped
		var b strings.Builder
		for _, c := range []byte(secret[:leastSecret/2]) {
			fmt.Fprintf(&b, every, c)
		}
		all = append(all, b.String())
	}
	return append(all, hex.EncodeToString([]byte(secret)))
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func gramOf(b []byte) uint64 { return binary.LittleEndian.Uint64(b) | 0x2020202020202020 }

func hash(g uint64) uint64 { return g * 0x9e3779b97f4a7c15 >> (64 - filterBits) }

// in reports whether b holds a whole form.
func (m *marks) in(b []byte) bool {
	if m == nil {
		return false
	}
	stride := m.stride // m's own would be read anew each time
	for i := 0; i+gram <= len(b); i += stride {
		g := gramOf(b[i : i+gram])
		if !m.filter[hash(g)] {
			continue
		}
		if _, ok := m.grams[g]; ok && m.around(b, i) {
			return true
		}
	}
	return false
}

// around reports whether a form lies in b whose gram begins at i.
func (m *marks) around(b []byte, i int) bool {
	for start := max(0, i-m.stride+1); start <= i; start++ {
		if m.first[b[start]|' '] && slices.ContainsFunc(m.forms, func(f string) bool { return begins(b[start:], f) && len(b)-start >= len(f) }) {
			return true
		}
	}
	return false
}

// partial is how many bytes at the end of b may be the beginning of a form.
func (m *marks) partial(b []byte) int {
	if m == nil {
		return 0
	}
	longest := 0
	for _, f := range m.forms {
		longest = max(longest, len(f))
	}
	for i := max(0, len(b)-longest+1); i < len(b); i++ {
		if m.first[b[i]|' '] && slices.ContainsFunc(m.forms, func(f string) bool { return begins(b[i:], f) }) {
			return len(b) - i
		}
	}
	return 0
}

// begins reports whether b and the form agree as far as both go.
func begins(b []byte, form string) bool {
	for i := range min(len(b), len(form)) {
		if b[i]|' ' != form[i] {
			return false
		}
	}
	return true
}
