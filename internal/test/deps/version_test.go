package deps

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A wrong path after -X is no error to the linker: the programs then call themselves
// "dev". So they are built as the Makefile builds them, and asked.
func TestBuiltProgramsKnowTheirVersion(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("make", "-s", "build", "BIN="+bin, "VERSION=9.8.7", "COMMIT=0123456789ab")
	build.Dir = "../../.."
	for _, v := range os.Environ() { // of a make that runs this test
		if !strings.HasPrefix(v, "MAKEFLAGS=") && !strings.HasPrefix(v, "MFLAGS=") && !strings.HasPrefix(v, "MAKELEVEL=") {
			build.Env = append(build.Env, v)
		}
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	programs, err := filepath.Glob(filepath.Join(bin, "*"))
	if err != nil || len(programs) != 4 {
		t.Fatalf("built %v, %v; want four programs", programs, err)
	}
	for _, program := range programs {
		out, err := exec.Command(program, "--version").Output()
		if want := "9.8.7 (0123456789ab)"; err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s --version says %q, %v; want %q", filepath.Base(program), out, err, want)
		}
	}
}
