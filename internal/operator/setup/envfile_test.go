package setup

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The values are those that systemd reads from these files.
func TestEnvironment(t *testing.T) {
	for text, want := range map[string][]string{
		"A=b\n":                        {"A=b"},
		" A=b c \t\n\n;X=y\n#Z=1\nD=e": {"A=b c", "D=e"},
		"A=\"b c\" \nD='e\\f'\n":       {"A=b c", "D=e\\f"},
		"A=b\\\nc\nD=\"e\nf\"\n":       {"A=bc", "D=e\nf"},
		"A=\"b\\\"\\x\\$\"'c'\n":       {"A=b\"\\x$c"},
		"A=it's\nnothing\nB=\n":        {"A=it's", "B="},
		"A=b#c\r\nA=d\n":               {"A=b#c", "A=d"},
	} {
		if got := Environment(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestWithSetting(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "A=new\n"},
		{"B=1", "B=1\nA=new\n"},
		{"# A is this\n#A=example\n\nB=1\n", "# A is this\n#A=example\nA=new\n\nB=1\n"},
		{"#A=x\nA='old \\\n' # c\nB=1\n", "#A=x\nA=new\nB=1\n"},
		{"A=1\nA=2\nB=\"\nA=3\"\n", "A=1\nA=new\nB=\"\nA=3\"\n"},
		{"A=\"new\"  \n", "A=\"new\"  \n"},
	} {
		if got := withSetting(tt.text, "A", "new"); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

// Whatever is set is read back, and all else with it.
func TestSettingsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([AB#]=?["' \\$a]{0,4}\n?){0,6}`).Draw(t, "text")
		value := rapid.StringMatching(`[a-z "'\\$#]{1,8}`).Draw(t, "value")
		var others []string
		for _, a := range parseEnv(text) {
			if a.name != "A" {
				others = append(others, a.name+"="+a.value)
			}
		}
		open := len(parseEnv(text)) > 0 && parseEnv(text)[len(parseEnv(text))-1].end == len(text) // maybe within quotes
		next := withSetting(text, "A", value)
		if open && next != text && setting(text, "A") == "" {
			return
		}
		if got := setting(next, "A"); got != value {
			t.Fatalf("%q: set %q, got %q in %q", text, value, got, next)
		}
		var kept []string
		for _, a := range parseEnv(next) {
			if a.name != "A" {
				kept = append(kept, a.name+"="+a.value)
			}
		}
		if !slices.Equal(others, kept) {
			t.Fatalf("%q became %q", text, next)
		}
	})
}
