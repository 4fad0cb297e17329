package oauth

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

const (
	maxName = 100 // characters
	maxHost = 64  // bytes of a host that stands for a name
)

// scripts are those that languages of today are written in (UAX #31, table 5), and what
// all share. Of the others few people can tell what they see, and some have letters that
// look like nothing, as have Braille and hieroglyphs.
var scripts = []*unicode.RangeTable{
	unicode.Common, unicode.Inherited,
	unicode.Arabic, unicode.Armenian, unicode.Bengali, unicode.Bopomofo, unicode.Cyrillic, unicode.Devanagari, unicode.Ethiopic,
	unicode.Georgian, unicode.Greek, unicode.Gujarati, unicode.Gurmukhi, unicode.Han, unicode.Hangul, unicode.Hebrew, unicode.Hiragana,
	unicode.Kannada, unicode.Katakana, unicode.Khmer, unicode.Lao, unicode.Latin, unicode.Malayalam, unicode.Myanmar, unicode.Oriya,
	unicode.Sinhala, unicode.Tamil, unicode.Telugu, unicode.Thaana, unicode.Thai, unicode.Tibetan,
}

// shown reports whether a character of a name is kept: none that is no graphic one, that
// renderers ignore by default (UAX #44, Default_Ignorable_Code_Point), or that is drawn
// around its neighbours.
func shown(r rune) bool {
	return unicode.IsPrint(r) && unicode.In(r, scripts...) &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Me)
}

// Marks that stand on one letter. More are no writing but smear over the lines above and
// below: UTS #39 §5.4 allows 4 and none twice. Those of no script of their own, which fit
// on every letter, are two at most in any language.
const (
	maxMarks      = 4
	maxLooseMarks = 2
)

// CleanName makes a client's name fit for a page and for a table: one line, nothing that
// reorders or hides text. A name without a letter or a digit that can be seen, and one
// whose marks smear over its surroundings, is none at all: "". What it has returned it
// leaves as it is.
func CleanName(name string) string {
	var kept []rune
	var last rune
	marks, loose, seen := 0, 0, false
	for _, r := range strings.ToValidUTF8(name, "") {
		if unicode.IsSpace(r) {
			r = ' '
		}
		nothing := last == 0 || last == ' ' // stands before r
		switch {
		case !shown(r), nothing && (r == ' ' || unicode.IsMark(r)):
			continue
		case unicode.IsMark(r):
			marks++
			if unicode.Is(unicode.Inherited, r) {
				loose++
			}
			if marks > maxMarks || loose > maxLooseMarks || r == last {
				return ""
			}
		default:
			marks, loose = 0, 0
			seen = seen || unicode.In(r, unicode.L, unicode.N)
		}
		last = r
		if kept = append(kept, r); len(kept) == maxName {
			break
		}
	}
	if !seen {
		return ""
	}
	return strings.TrimSpace(string(kept))
}

// ClientName is what people are shown as a client's name, everywhere: what it calls
// itself, else where it is.
func ClientName(c model.Client) string {
	if name := CleanName(c.Name); name != "" {
		return name
	}
	if len(c.RedirectURIs) == 0 {
		return "An application"
	}
	host := RedirectHost(c.RedirectURIs[0])
	if len(host) > maxHost {
		host = "..." + host[len(host)-maxHost:] // whose it is stands at its end
	}
	return "An application at " + host
}

// Publisher is the host that answers for a client's name and addresses: where
// its client ID metadata document is. It is empty for a client that described
// itself.
func Publisher(c model.Client) string {
	u, err := url.Parse(c.ID)
	if c.Kind != model.ClientDocument || err != nil {
		return ""
	}
	return u.Host
}
