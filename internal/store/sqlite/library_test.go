package sqlite

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gorm.io/gorm"
)

// oldest is the SQLite that was decided on: whoever brings another into the build, with
// this package's driver or below it, raises it. See CONTRIBUTING, Dependencies.
const oldest = "3.54.1"

func open(t *testing.T) *DB {
	t.Helper()
	d, err := Open(t.Context(), filepath.Join(t.TempDir(), "test.db"), func(*gorm.DB) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// number makes versions comparable: three numbers below a thousand.
func number(t *testing.T, version string) (n int) {
	t.Helper()
	parts := strings.Split(version, ".")
	for _, part := range parts {
		v, err := strconv.Atoi(part)
		if err != nil || len(parts) != 3 || v > 999 {
			t.Fatalf("%q is no version of SQLite", version)
		}
		n = n*1000 + v
	}
	return n
}

func TestLinkedSQLite(t *testing.T) {
	var linked string
	if err := open(t).Read.Raw("SELECT sqlite_version()").Scan(&linked).Error; err != nil {
		t.Fatal(err)
	}
	if number(t, linked) < number(t, oldest) {
		t.Errorf("SQLite %s is linked, and %s is the oldest that may be", linked, oldest)
	}
	t.Log("SQLite", linked)
}

// SQLite was translated to Go against one version of its C library; its authors warn of
// any other (package documentation of modernc.org/sqlite).
func TestLinkedLibc(t *testing.T) {
	list := func(format string) string {
		out, err := exec.Command("go", "list", "-m", "-f", format, "modernc.org/sqlite", "modernc.org/libc").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	mods := strings.Fields(list("{{.GoMod}}"))
	linked := strings.Fields(list("{{.Version}}"))[1]
	out, err := exec.Command("go", "mod", "edit", "-json", mods[0]).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(strings.Fields(string(out)), ""), `"Path":"modernc.org/libc","Version":"`+linked+`"`) {
		t.Errorf("modernc.org/libc %s is linked; modernc.org/sqlite wants another: go get modernc.org/libc@<that of %s>", linked, mods[0])
	}
}

// A driver that is older than the library took a nil slice for an empty value, so that
// what was absent counted as there.
func TestAbsentBytesAreNULL(t *testing.T) {
	d := open(t)
	if err := d.Write.Exec("CREATE TABLE t (v BLOB)").Error; err != nil {
		t.Fatal(err)
	}
	for _, v := range [][]byte{nil, {}, {7}} {
		if err := d.Write.Exec("INSERT INTO t SELECT ?", v).Error; err != nil {
			t.Fatal(err)
		}
	}
	var kinds []string
	if err := d.Read.Raw("SELECT typeof(v) || coalesce(length(v), '') FROM t ORDER BY rowid").Scan(&kinds).Error; err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(kinds, " "); got != "null blob0 blob1" {
		t.Errorf("nil, empty and one byte are stored as %s", got)
	}
}
