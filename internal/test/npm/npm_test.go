package npm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// local is a package without dependencies, so that no registry is asked.
func local(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"package.json": `{"name":"source","version":"1.0.0","private":true}`,
		"package-lock.json": `{"name":"source","version":"1.0.0","lockfileVersion":3,"requires":true,
			"packages":{"":{"name":"source","version":"1.0.0"}}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func needNpm(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("needs npm")
	}
	t.Setenv("FJMCP_TEST_CACHE", filepath.Join(t.TempDir(), "cache"))
}

// Many may install the same at once; the later ones find it.
func TestInstallOnce(t *testing.T) {
	needNpm(t)
	source := local(t)
	var dirs [2]string
	var installed sync.WaitGroup
	for i := range dirs {
		installed.Go(func() {
			var err error
			if dirs[i], err = Install(t.Context(), source); err != nil {
				t.Error(err)
			}
		})
	}
	installed.Wait()
	t.Setenv("PATH", "") // no npm: it must come from the cache
	dir, err := Install(t.Context(), source)
	if err != nil || dir != dirs[0] || dir != dirs[1] {
		t.Fatalf("Install gave %q, then %q, %v", dirs, dir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "package.json")); err != nil {
		t.Error(err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "*.new"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A lock file that does not fit, or no npm, leaves nothing in the cache.
func TestInstallFails(t *testing.T) {
	needNpm(t)
	source := local(t)
	manifest := `{"name":"source","version":"1.0.0","private":true,"dependencies":{"not-in-the-lock":"1.0.0"}}`
	if err := os.WriteFile(filepath.Join(source, "package.json"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	if dir, err := Install(t.Context(), source); err == nil {
		t.Errorf("installed into %s against the lock file", dir)
	}
	t.Setenv("PATH", "")
	if _, err := Install(t.Context(), local(t)); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("without npm: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(os.Getenv("FJMCP_TEST_CACHE"), "*"))
	for _, path := range left {
		if filepath.Ext(path) != ".lock" {
			t.Errorf("left behind: %v", left)
		}
	}
}
