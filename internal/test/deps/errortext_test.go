package deps

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// describing are the directories whose texts can become an error_description.
var describing = []string{"internal/authserver", "internal/proto/oauth", "internal/store/clientid", "internal/forgejo", "internal/gateway"}

// What clients are told in an error_description is of RFC 6749 §5.2's characters, which
// are ASCII; the rest would reach them as question marks.
func TestErrorTextsAreASCII(t *testing.T) {
	read := 0
	for _, dir := range describing {
		err := filepath.WalkDir("../../../"+dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					return true
				}
				read++
				text, _ := strconv.Unquote(literal.Value)
				if strings.ContainsFunc(text, func(r rune) bool { return r > '~' }) {
					t.Errorf("%s: %s is not ASCII; write \"section\" for the paragraph sign", files.Position(literal.Pos()), literal.Value)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if read < 500 {
		t.Errorf("only %d texts were read", read)
	}
}
