package store_test

import (
	"database/sql"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/testpostgres"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestMain(m *testing.M) { os.Exit(testpostgres.Main(m)) }

// openSQL opens a database past the store.
func openSQL(place string) (*sql.DB, error) {
	if teststore.IsFile(place) {
		return sql.Open("sqlite", place)
	}
	return sql.Open("pgx", place)
}

// No test forgets the other database: one that does not run on both says why, as being of
// SQLite or PostgreSQL, or of no database. This one is of no database.
func TestTestsRunOnBoth(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	both := 0
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		must(t, err)
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
				continue
			}
			if callsBoth(f) {
				both++
				continue
			}
			says := f.Doc.Text()
			if !strings.Contains(says, "SQLite") && !strings.Contains(says, "PostgreSQL") && !strings.Contains(says, "no database") {
				t.Errorf("%s runs on one database, and does not say why", f.Name.Name)
			}
		}
	}
	if both < 50 {
		t.Errorf("%d tests run on both", both)
	}
}

func callsBoth(f *ast.FuncDecl) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.SelectorExpr)
		found = found || ok && call.Sel.Name == "Both"
		return !found
	})
	return found
}
