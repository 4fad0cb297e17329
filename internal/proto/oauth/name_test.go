package oauth

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"Claude Code (forgejo)": "Claude Code (forgejo)", " Two\n\tlines ": "Two lines", "C++ & 日本語 бот №1": "C++ & 日本語 бот №1",
		"Caf\u0065\u0301": "Caf\u0065\u0301", "Việt Nam": "Việt Nam", "Vie\u0323\u0302t": "Vie\u0323\u0302t", "हिन्दी": "हिन्दी", "ภาษาไทย น้ำ": "ภาษาไทย น้ำ",
		"עִבְרִית": "עִבְרִית", "العَرَبِيَّة": "العَرَبِيَّة", "བོད་སྐད": "བོད་སྐད", "한국어": "한국어", "🚀 Rocket": "🚀 Rocket", "❤\ufe0f x": "❤ x",
		"ad\u200bmin": "admin", "\u202eevil": "evil", "a\u2066b\u2069": "ab", "so\u00adft": "soft", "a\u2028b": "a b", "a\u3000\u00a0b": "a b",
		"tag\U000e0041s": "tags", "x\u20dd": "x", "\u0301x": "x", "x \u0301y": "x y", "a\u3164\u2800b": "ab", "a\xffb": "ab",
		strings.Repeat("ab ", 60): strings.TrimSpace(strings.Repeat("ab ", 33)) + " a",
	} {
		if got := CleanName(name); got != want {
			t.Errorf("%+q: %+q, want %+q", name, got, want)
		}
	}
}

// A name that nobody can see is none, whatever it is made of: of every character there
// is, those count that are a letter or a number and do not look like nothing.
func TestInvisibleNames(t *testing.T) {
	invisible := map[string]*unicode.RangeTable{
		"control": unicode.Cc, "format": unicode.Cf, "private use": unicode.Co, "space": unicode.Z, "variation selector": unicode.Variation_Selector,
		"default ignorable": unicode.Other_Default_Ignorable_Code_Point, "mark": unicode.M, "punctuation": unicode.P, "symbol": unicode.S,
		"braille": unicode.Braille, "hieroglyph": unicode.Egyptian_Hieroglyphs, "khitan": unicode.Khitan_Small_Script,
	}
	for what, class := range invisible {
		for r := range utf8.MaxRune + 1 {
			if unicode.Is(class, r) && CleanName(strings.Repeat(string(r), 3)) != "" {
				t.Errorf("%s %U can be a name", what, r)
			}
		}
	}
	for _, name := range []string{
		"", "\u3164", "\u115f\u1160", "\uffa0\uffa0", "\u2800\u2800", "\u200b\u200c\u200d", "\ufe0f", "\U000e0100", "\U000e0041\U000e007f",
		"\u17b4\u17b5", "\u034f", "\u180e", "\U00013441", "\U0001d159", "\ufffc", "...", "\u202e\u202c", "\u0301\u0301",
	} {
		if got := CleanName(name); got != "" {
			t.Errorf("%+q: %+q", name, got)
		}
		if got := ClientName(model.Client{Name: name, RedirectURIs: []string{"https://a.example/cb"}}); got != "An application at a.example" {
			t.Errorf("%+q is shown as %q", name, got)
		}
	}
}

// A name whose marks smear over what stands above and below is none.
func TestSmearingNames(t *testing.T) {
	for _, name := range []string{
		"Z\u0300\u0301\u0302", "Zal" + strings.Repeat("\u0335\u0336", 9) + "go", "ก" + strings.Repeat("\u0e47", 2), "a\u0301\u0301", "x" + strings.Repeat("\u0489\u0300", 3),
		"क\u0941\u0942\u0947\u0948\u0902",
	} {
		if got := CleanName(name); got != "" {
			t.Errorf("%+q: %+q", name, got)
		}
	}
}

// The end of a long host says whose it is.
func TestLongHostsAsNames(t *testing.T) {
	got := ClientName(model.Client{RedirectURIs: []string{"https://claude.ai." + strings.Repeat("a.", 60) + "evil.example/cb"}})
	if !strings.HasSuffix(got, "a.evil.example") || strings.Contains(got, "claude") || CleanName(got) != got {
		t.Errorf("shown as %q", got)
	}
}

func FuzzCleanName(f *testing.F) {
	f.Add("Claude \u202e\u0301 \u3164")
	f.Add(strings.Repeat("\U0001f680", 120) + "x")
	f.Fuzz(func(t *testing.T, name string) {
		got := CleanName(name)
		if CleanName(got) != got || !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxName || strings.TrimSpace(got) != got {
			t.Errorf("%q: %q, and again %q", name, got, CleanName(got))
		}
	})
}
