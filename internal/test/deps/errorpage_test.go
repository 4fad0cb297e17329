package deps

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// speaker is a file or directory whose error texts reach people.
type speaker struct {
	path   string
	calls  map[string][]int // functions and which of their arguments, from 0 on, are such texts
	within []string         // functions, variables and constants in which each text with a space is one
}

var (
	makes    = map[string][]int{"New": {0}, "Errorf": {0}}
	speakers = []speaker{
		{"internal/gateway", map[string][]int{"NewFault": {2}, "refuse": {1}, "methodNotAllowed": {1}},
			[]string{"failures", "reasons", "forgejoDown", "noBackend", "refusalText", "hiddenText", "policyText", "errTooManyStreams", "errParkingFull", "errState", "errGone", "narrow", "mayNothing", "readsOnly", "toolsets"}},
		{"internal/proto/endpoint", nil, []string{"unknown"}},
		{"internal/proto/mcp", nil, []string{"SessionNotFound", "ErrNotJSON", "ErrNotMessage"}},
		{"internal/authserver", map[string][]int{"Refuse": {2, 3}, "refusal": {0, 1}}, []string{"explain", "refusedBy", "refusals", "bearerFault", "Challenge", "noCode", "unknownCode", "told"}},
		{"internal/forgejo/errors.go", nil, []string{"kinds"}},
		{"cmd/fjmcp-broker", map[string][]int{"refuse": {3}}, nil},
		{"cmd/fjmcpctl", makes, nil},
		{"internal/operator/admin/caller.go", makes, nil},
		{"internal/operator/sessions.go", makes, []string{"noSuch"}},
		{"internal/operator/clients.go", makes, []string{"checkNew", "RemoveClient"}},
		{"internal/operator/users.go", makes, []string{"find", "noUser", "UnblockUser", "sessionsLeft"}},
		{"internal/operator/grants.go", makes, []string{"RevokeGrants"}},
		{"internal/operator/setup", makes, nil},
		{"internal/operator/backup.go", makes, []string{"errBackupUnderWay"}},
		{"internal/operator/archive", makes, nil},
		{"internal/operator/restore", makes, nil},
		{"internal/operator/journal/journal.go", makes, nil},
		{"internal/operator/journal/lines.go", makes, nil},
		{"internal/operator/journal/when.go", makes, nil},
	}
	// unseen are texts of speakers that nobody sees: a command has said itself what is wrong,
	// the header of a 401, and what another text takes the place of on each page.
	unseen = []string{"told already", "Bearer …", "Forgejo is not reachable at the moment. Try again later; there is no need to log in again."}
)

// docs/errors.md has each text that a user or an operator meets, with cause and cure, and
// none that the code does not have. What is put in at run time is … there.
func TestErrorPage(t *testing.T) {
	want := map[string]token.Position{}
	for _, s := range speakers {
		before := len(want)
		s.read(t, want)
		if len(want) == before {
			t.Errorf("%s says nothing: it was moved, or says it by other functions", s.path)
		}
	}
	for _, text := range unseen {
		if _, ok := want[text]; !ok {
			t.Errorf("the code does not have %q, which nobody would see", text)
		}
		delete(want, text)
	}
	got := map[string]bool{}
	for line := range strings.Lines(read(t, "docs/errors.md")) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		if len(cells) != 3 || slices.ContainsFunc(cells, func(cell string) bool { return strings.Trim(cell, "| ") == "" }) {
			t.Errorf("docs/errors.md: want text, cause and cure in %s", line)
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
			got[m[1]] = true
		}
	}
	for text, at := range want {
		if !got[text] {
			t.Errorf("%s: docs/errors.md does not have `%s`", at, text)
		}
	}
	for text := range got {
		if _, ok := want[text]; !ok {
			t.Errorf("docs/errors.md has `%s`, which nothing says any more", text)
		}
	}
	if len(want) < 100 {
		t.Errorf("only %d texts were found", len(want))
	}
}

// read adds the speaker's texts.
func (s speaker) read(t *testing.T, found map[string]token.Position) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, s.path), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		add := func(e ast.Expr) {
			if text, said := wording(e); said {
				found[strings.Join(strings.Fields(text), " ")] = files.Position(e.Pos())
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				for _, i := range s.calls[called(n)] {
					if i < len(n.Args) {
						add(n.Args[i])
					}
				}
			case *ast.FuncDecl:
				if slices.Contains(s.within, n.Name.Name) {
					all(n.Body, add)
				}
			case *ast.ValueSpec:
				if slices.Contains(s.within, n.Names[0].Name) {
					all(n, add)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// all passes on each text below n that has a space.
func all(n ast.Node, add func(ast.Expr)) {
	ast.Inspect(n, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		text, said := wording(e)
		if said && strings.Contains(text, " ") {
			add(e)
		}
		return !said
	})
}

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

var verb = regexp.MustCompile(`%[+#]?[a-z]`)

// wording is the text that e makes, with … for what is put in. said
// reports whether it has any words.
func wording(e ast.Expr) (text string, said bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ = strconv.Unquote(e.Value)
			text = verb.ReplaceAllString(text, "…")
			return text, strings.ContainsFunc(text, unicode.IsLetter)
		}
	case *ast.BinaryExpr:
		x, one := wording(e.X)
		y, other := wording(e.Y)
		return x + y, e.Op == token.ADD && (one || other)
	case *ast.CallExpr:
		if name := called(e); name == "Sprintf" || name == "Errorf" {
			return wording(e.Args[0])
		}
	}
	return "…", false
}
