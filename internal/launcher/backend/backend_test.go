package backend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	binary, link := filepath.Join(dir, "forgejo-mcp-2.34.1"), filepath.Join(dir, "forgejo-mcp")
	if err := os.WriteFile(binary, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, link); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(dir, "absent")
	for _, c := range []struct {
		name, configured string
		searched         []string
		want, err        string
	}{
		{"configured", binary, []string{absent}, binary, ""},
		{"link resolved", link, nil, binary, ""},
		{"second place", "", []string{absent, link}, binary, ""},
		{"configured but absent", absent, []string{binary}, "", Variable + "=\"" + absent + "\": no such file or directory"},
		{"nowhere", "", []string{absent, absent + "2"}, "", "neither " + absent + " nor " + absent + "2 exists; install it there or set " + Variable},
		{"directory", dir, nil, "", "not a regular file"},
		{"first place unusable", "", []string{dir, binary}, "", "cannot use forgejo-mcp at " + dir},
		{"relative", "forgejo-mcp", nil, "", "want an absolute path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func(old []string) { searched = old }(searched)
			searched = c.searched
			got, err := Find(c.configured)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("Find(%q) = %q, %v; want %q, %q", c.configured, got, err, c.want, c.err)
			}
		})
	}
}
