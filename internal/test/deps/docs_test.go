package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testLink is how the pages in docs name a test.
var testLink = regexp.MustCompile("\\[`(\\w+)`\\]\\(\\.\\./([^)]+_test\\.go)\\)")

// testName is any mention of one.
var testName = regexp.MustCompile("`Test[A-Z]\\w*`")

const docs = "../../../docs"

// Every test that a page names is linked and exists.
func TestNamedTestsExist(t *testing.T) {
	pages, err := filepath.Glob(docs + "/*.md")
	if err != nil || len(pages) < 7 {
		t.Fatalf("found the pages %v, %v", pages, err)
	}
	named := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		linked := testLink.FindAllStringSubmatch(string(text), -1)
		if all := testName.FindAllString(string(text), -1); len(all) != len(linked) {
			t.Errorf("%s names %d tests and links %d of them", page, len(all), len(linked))
		}
		for _, n := range linked {
			source, err := os.ReadFile(filepath.Join(docs, "..", n[2]))
			if err != nil || !strings.Contains(string(source), "\nfunc "+n[1]+"(") {
				t.Errorf("%s: there is no test %s in %s", page, n[1], n[2])
			}
		}
		named += len(linked)
	}
	if named < 100 {
		t.Errorf("the pages name only %d tests", named)
	}
}

// Every row of the findings table names a test.
func TestSecurityRowsNameTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docs, "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.Contains(line, "| shown by |") {
			continue
		}
		rows++
		named := testLink.FindAllStringSubmatch(line, -1)
		if len(named) == 0 || strings.Count(line, "`]") != len(named) {
			t.Errorf("this row names no test, or one in another form:\n%s", line)
		}
	}
	if rows < 40 {
		t.Errorf("the page has only %d findings", rows)
	}
}
