package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

const top = "../../../"

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	exampleFile = "packaging/policy/policy.toml"
	manual      = "packaging/man/fjmcp-policy.toml.5"
)

// TestExamplesAreRead tries the example, the manual page's and those of docs.
func TestExamplesAreRead(t *testing.T) {
	texts := map[string]string{exampleFile: read(t, exampleFile)}
	for _, m := range regexp.MustCompile(`(?s)\n\.Bd -literal[^\n]*\n(\[\[.*?)\n\.Ed`).FindAllStringSubmatch(read(t, manual), -1) {
		texts[manual] = m[1]
	}
	pages, err := filepath.Glob(filepath.Join(top, "docs/*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no docs: %v", err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)\n```toml\n(.*?)\n```").FindAllSubmatch(text, -1) {
			texts[page+": "+string(m[1])] = string(m[1])
		}
	}
	if texts[manual] == "" {
		t.Errorf("%s has no example", manual)
	}
	for name, text := range texts {
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManualNamesTheKeys: each key of a rule has its paragraph, and nothing else has.
func TestManualNamesTheKeys(t *testing.T) {
	var named []string
	for _, m := range regexp.MustCompile(`(?m)^\.It Cm (\S+)$`).FindAllStringSubmatch(read(t, manual), -1) {
		named = append(named, m[1])
	}
	if !slices.Equal(named, keys) {
		t.Errorf("%s names %v, want %v", manual, named, keys)
	}
}

// TestExampleShowsEachKey, so that whoever copies from it finds them.
func TestExampleShowsEachKey(t *testing.T) {
	for _, key := range keys {
		if !regexp.MustCompile(`(?m)^` + key + ` *=`).MatchString(read(t, exampleFile)) {
			t.Errorf("%s does not show %s", exampleFile, key)
		}
	}
}
