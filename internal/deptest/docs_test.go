package deptest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testLink is how docs/security.md names a test.
var testLink = regexp.MustCompile("\\[`(\\w+)`\\]\\(\\.\\./([^)]+_test\\.go)\\)")

// Every row of the findings table names a test, and every test it names exists.
func TestSecurityTestsExist(t *testing.T) {
	const docs = "../../docs"
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
		for _, n := range named {
			source, err := os.ReadFile(filepath.Join(docs, "..", n[2]))
			if err != nil || !strings.Contains(string(source), "\nfunc "+n[1]+"(") {
				t.Errorf("there is no test %s in %s", n[1], n[2])
			}
		}
	}
	if rows < 40 {
		t.Errorf("the page has only %d findings", rows)
	}
}
