package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// restrictions are what this runner gives tests, or has no need to.
var restrictions = []string{"needs-root", "isolation-container", "allow-stderr"}

// The package's own tests (autopkgtest), as Debian's runner would run them: by the control
// file, with the packages they depend on, from a tree of their own.
// https://salsa.debian.org/ci-team/autopkgtest/-/blob/master/doc/README.package-tests.rst
func TestE2EAutopkgtest(t *testing.T) {
	control, err := os.ReadFile(repository + "/debian/tests/control")
	must(t, err)
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			s := installIn(t, suite, "")
			stop, err := s.C.AddMirror(t.Context())
			must(t, err)
			defer stop()
			run(t, s, "apt-get", "update", "-q")
			files, err := filepath.Glob(repository + "/debian/tests/*")
			must(t, err)
			for _, file := range files {
				must(t, s.C.CopyIn(file, "/srv/tree/debian/tests/"+filepath.Base(file), 0o755))
			}
			ran := map[string]bool{"control": true}
			for paragraph := range strings.SplitSeq(strings.TrimSpace(string(control)), "\n\n") {
				runParagraph(t, s, paragraph, ran)
			}
			for _, file := range files {
				if !ran[filepath.Base(file)] {
					t.Errorf("no paragraph names the test %s; there are %v", filepath.Base(file), slices.Sorted(maps.Keys(ran)))
				}
			}
		})
	}
}

// runParagraph runs the tests of one paragraph of the control file.
func runParagraph(t *testing.T, s *System, paragraph string, ran map[string]bool) {
	fields := map[string][]string{}
	for line := range strings.Lines(paragraph) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
	}
	for _, r := range fields["Restrictions"] {
		if !slices.Contains(restrictions, r) {
			t.Fatalf("this runner does not know the restriction %q", r)
		}
	}
	depends := slices.DeleteFunc(fields["Depends"], func(p string) bool { return p == "@" }) // which is installed
	run(t, s, append([]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-q", "-y", "--no-install-recommends"}, depends...)...)
	user := "nobody"
	if slices.Contains(fields["Restrictions"], "needs-root") {
		user = ""
	}
	for _, test := range fields["Tests"] {
		ran[test] = true
		t.Run(test, func(t *testing.T) {
			temp := "/tmp/autopkgtest-" + test
			run(t, s, "install", "-d", "-m", "0777", temp, temp+"/artifacts")
			r, err := s.C.Exec(t.Context(), nspawn.Cmd{User: user,
				Argv: []string{"/bin/sh", "-c", fmt.Sprintf("cd /srv/tree && exec debian/tests/%s", test)},
				Env:  []string{"AUTOPKGTEST_TMP=" + temp, "AUTOPKGTEST_ARTIFACTS=" + temp + "/artifacts", "HOME=" + temp},
			})
			must(t, err)
			if r.Code != 0 || r.Stderr != "" && !slices.Contains(fields["Restrictions"], "allow-stderr") {
				t.Errorf("exit status %d\n%s%s", r.Code, r.Stdout, r.Stderr)
			}
		})
	}
}
