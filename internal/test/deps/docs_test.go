package deps

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository.
const root = "../../.."

// testLink is how docs/security.md names a test.
var testLink = regexp.MustCompile("\\[`(\\w+)`\\]\\(\\.\\./([^)]+_test\\.go)\\)")

// Every row of the findings table names a test, and every test it names exists.
func TestSecurityTestsExist(t *testing.T) {
	rows := 0
	for line := range strings.Lines(read(t, "docs/security.md")) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.Contains(line, "| shown by |") {
			continue
		}
		rows++
		named := testLink.FindAllStringSubmatch(line, -1)
		if len(named) == 0 || strings.Count(line, "`]") != len(named) {
			t.Errorf("this row names no test, or one in another form:\n%s", line)
		}
		for _, n := range named {
			source, err := os.ReadFile(filepath.Join(root, n[2]))
			if err != nil || !strings.Contains(string(source), "\nfunc "+n[1]+"(") {
				t.Errorf("there is no test %s in %s", n[1], n[2])
			}
		}
	}
	if rows < 40 {
		t.Errorf("the page has only %d findings", rows)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages are the files whose links and paths are checked: all Markdown, the Makefile and
// what CI runs.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, _ := filepath.Rel(root, name)
		switch {
		case d.IsDir() && (file == ".git" || file == "bin" || file == "dist" || file == "state" || d.Name() == "node_modules"):
			return fs.SkipDir
		case !d.IsDir() && (path.Ext(file) == ".md" || file == "Makefile" || path.Dir(file) == ".ci"):
			all = append(all, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"README.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "docs/design.md", "docs/adr/README.md"} {
		if !strings.Contains("\n"+strings.Join(all, "\n")+"\n", "\n"+want+"\n") {
			t.Errorf("%s is not among the pages", want)
		}
	}
	return all
}

var (
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// named is a path of the repository, from its root, in running text or code.
	named   = regexp.MustCompile(`(^|[^\w./~-])(?:\./)?((?:internal|cmd|docs|packaging|units|debian|\.ci)/[\w./@*-]*)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*?) *$`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		if path.Ext(page) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			links++
			file := page
			if target != "" {
				file = path.Join(path.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if anchor != "" && !anchors(read(t, file))[anchor] {
				t.Errorf("%s links to %s: there is no such heading", page, m[1])
			}
		}
	}
	if links < 200 {
		t.Errorf("only %d links were found", links)
	}
}

// anchors are what a page's headings are linked by, as forges make them.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		id := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		all[id] = true
	}
	return all
}

func TestPathsAreThere(t *testing.T) {
	paths := 0
	for _, page := range pages(t) {
		text := strings.ReplaceAll(read(t, page), module, "")
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			name := strings.TrimRight(m[2], "./")
			if strings.HasSuffix(m[2], "/...") {
				name = strings.TrimSuffix(m[2], "/...")
			}
			paths++
			found, err := filepath.Glob(filepath.Join(root, name))
			if err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", page, name)
			}
		}
	}
	if paths < 60 {
		t.Errorf("only %d paths were found", paths)
	}
}

// Any local program may write a field FJMCP_*. So each query that we tell of, in pages,
// man pages, comments and hints, asks for where an entry came from, in each of its
// alternatives.
func TestQueriesNameTheirSource(t *testing.T) {
	query := regexp.MustCompile("journalctl [^`|\\n]*FJMCP_[^`|\\n]*")
	source := regexp.MustCompile(`_SYSTEMD_(UNIT|SLICE)=|-u |\$u `) // $u is set above it to the broker's unit
	joined := regexp.MustCompile(`" \+\s(\w+ \+ )?\s*"`)            // Go's way to write one text in parts
	found := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && (d.Name() == ".git" || d.Name() == "dist" || d.Name() == "bin") {
				return fs.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil || strings.HasSuffix(name, "_test.go") || strings.ContainsRune(string(text), 0) {
			return err
		}
		for _, q := range query.FindAllString(joined.ReplaceAllString(string(text), ""), -1) {
			found++
			for alternative := range strings.SplitSeq(q, " + ") {
				if !source.MatchString(alternative) {
					t.Errorf("%s: this shows what any program wrote: %s", name, q)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 12 {
		t.Errorf("found only %d queries", found)
	}
}
