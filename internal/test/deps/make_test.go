package deps

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tree is a copy of the Makefile in a repository of its own, whose package is built in
// no time.
type tree struct {
	t   *testing.T
	dir string
}

func newTree(t *testing.T) tree {
	t.Helper()
	w := tree{t, t.TempDir()}
	makefile, err := os.ReadFile(filepath.Join("..", "..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	w.write("Makefile", string(makefile), 0o644)
	w.write(".gitignore", "/bin/\n/dist/\n", 0o644)
	w.write("debian/changelog", "fjmcp-broker (1.0) unstable; urgency=medium\n", 0o644)
	w.write(".ci/deps", "#!/bin/sh\n", 0o755)
	w.write("packaging/build-deb", "#!/bin/sh\necho built >>builds.log\nmkdir -p \"$1\"\ntouch \"$1\"/fjmcp-broker_1.0_amd64.deb\n", 0o755)
	w.write("cmd/main.go", "package main\n", 0o644)
	w.write("cmd/other.go", "package main\n", 0o644)
	w.write(".git/info/exclude", "builds.log\n", 0o644)
	w.run("git", "init", "-q")
	w.commit()
	return w
}

func (w tree) write(name, content string, mode os.FileMode) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		w.t.Fatal(err)
	}
}

func (w tree) run(name string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = w.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func (w tree) commit() {
	w.t.Helper()
	w.run("git", "add", "-A")
	w.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "all")
}

func (w tree) builds() int {
	b, _ := os.ReadFile(filepath.Join(w.dir, "builds.log"))
	return strings.Count(string(b), "built")
}

// make deb, and with it make demo, builds the package if something in it has changed,
// and not else.
func TestPackageIsBuiltWhenItIsNotCurrent(t *testing.T) {
	w := newTree(t)
	for i, change := range []struct {
		what string
		do   func()
		new  bool
	}{
		{"nothing there", func() {}, true},
		{"nothing", func() {}, false},
		{"a file", func() { w.write("cmd/main.go", "package main // changed\n", 0o644) }, true},
		{"a new file", func() { w.write("cmd/new.go", "package main\n", 0o644) }, true},
		{"a test", func() { w.write("cmd/main_test.go", "package main\n", 0o644) }, false},
		{"a commit", func() { w.commit() }, true},
		{"one file less", func() { w.run("git", "rm", "-q", "cmd/other.go") }, true},
		{"nothing more", func() {}, false},
	} {
		before := w.builds()
		change.do()
		if again := strings.Contains(w.run("make", "-n", "ARCH=amd64", "demo"), "packaging/build-deb"); again != change.new {
			t.Errorf("%d: after %s, make demo would build: %v", i, change.what, again)
		}
		w.run("make", "ARCH=amd64", "deb")
		if again := w.builds() > before; again != change.new {
			t.Errorf("%d: after %s, make deb built: %v", i, change.what, again)
		}
	}
}
