package deps

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// source is a Go file of the repository.
type source struct {
	name  string // from the root of the repository
	text  string
	lines int
}

// sources returns the Go files of cmd and internal.
func sources(t *testing.T) (all []source) {
	t.Helper()
	for _, dir := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(name) != ".go" {
				return err
			}
			file, err := filepath.Rel(root, name)
			text := read(t, file)
			all = append(all, source{file, text, strings.Count(text, "\n")})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

// What is as long by its nature, and why.
var long = map[string]string{
	"internal/store/schema/migrations.go": "one migration after the other, none of which is ever changed",
	"cmd/fjmcpctl":                        "the commands of one program, which print in one way",
	"internal/session":                    "the pool, its sessions and their queues, under one lock",
}

// A file has one job and can be read at one sitting; a package is one subject.
func TestFilesAndPackagesAreNoLonger(t *testing.T) {
	const ofFile, ofPackage = 400, 2500
	packages, found := map[string]int{}, 0
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		packages[path.Dir(s.name)] += s.lines
		if s.lines > ofFile && long[s.name] == "" {
			t.Errorf("%s has %d lines; split it by what it does, at most %d", s.name, s.lines, ofFile)
		}
		found++
	}
	for name, lines := range packages {
		if lines > ofPackage && long[name] == "" {
			t.Errorf("%s has %d lines without tests; split it by its subjects, at most %d", name, lines, ofPackage)
		}
	}
	if found < 300 || len(packages) < 60 {
		t.Errorf("only %d files and %d packages were found", found, len(packages))
	}
}

// anyError are the names by which errors are passed on.
var anyError = regexp.MustCompile(`^(err|failure|cause|\w*Err)$`)

// Who searches the journal for errors knows by which key.
func TestErrorsAreLoggedAsError(t *testing.T) {
	logged := 0
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), s.name, s.text, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !logs(call) {
				return true
			}
			for i := 1; i+1 < len(call.Args); i++ {
				key, literal := call.Args[i].(*ast.BasicLit)
				value, named := call.Args[i+1].(*ast.Ident)
				if !literal || !named || key.Kind != token.STRING || !anyError.MatchString(value.Name) {
					continue
				}
				logged++
				if key.Value != `"error"` {
					t.Errorf("%s logs an error as %s", s.name, key.Value)
				}
			}
			return true
		})
	}
	if logged < 60 {
		t.Errorf("only %d errors are logged", logged)
	}
}

// logs reports whether call is one of slog's: a message, then keys and values.
func logs(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	return ok && strings.Contains(" Debug Info Warn Error Log DebugContext InfoContext WarnContext ErrorContext With ", " "+method.Sel.Name+" ")
}

// A function whose name says that it is called with a lock held is called with one, by
// one that has taken it or is called so as well; and it takes none before it lets go.
func TestLockedFunctionsAreCalledWithALock(t *testing.T) {
	locked := 0
	for _, s := range sources(t) {
		file, err := parser.ParseFile(token.NewFileSet(), s.name, s.text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			wants := wantsLock(f.Name.Name)
			first, calls := locking(f.Body, !wants)
			if wants {
				locked++
				if first == "Lock" {
					t.Errorf("%s: %s takes the lock that it is called with", s.name, f.Name.Name)
				}
			} else if calls != "" && first != "Lock" && first != "RLock" && first != "TryLock" {
				t.Errorf("%s: %s calls %s without a lock", s.name, f.Name.Name, calls)
			}
		}
	}
	if locked < 60 {
		t.Errorf("only %d functions were found", locked)
	}
}

func wantsLock(name string) bool { return strings.HasSuffix(name, "Locked") && name != "Locked" }

// locking returns what body does first with a lock, and a function that it calls which
// wants one; within, also in functions that it makes for later.
func locking(body ast.Node, within bool) (first, calls string) {
	ast.Inspect(body, func(n ast.Node) bool {
		if _, later := n.(*ast.FuncLit); later && !within {
			return false
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name := ""
		switch f := call.Fun.(type) {
		case *ast.SelectorExpr:
			name = f.Sel.Name
		case *ast.Ident:
			name = f.Name
		}
		switch {
		case wantsLock(name):
			calls = name
		case first == "" && strings.HasSuffix(name, "ock") && len(call.Args) == 0:
			first = name
		}
		return true
	})
	return first, calls
}
