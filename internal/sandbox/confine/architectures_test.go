package confine

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// debianNames are Debian's names of architectures where they are not Go's.
var debianNames = map[string]string{"ppc64le": "ppc64el", "386": "i386", "arm": "armhf", "mips64le": "mips64el"}

// The package is for the architectures that the filter is for: on any other no session
// would start.
func TestPackageIsForTheFiltersArchitectures(t *testing.T) {
	control, err := os.ReadFile(filepath.Join("..", "..", "..", "debian", "control"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for arch := range maps.Keys(auditArch) {
		if name, ok := debianNames[arch]; ok {
			arch = name
		}
		want = append(want, arch)
	}
	slices.Sort(want)
	fields := regexp.MustCompile(`(?m)^Architecture:(.*)$`).FindAllStringSubmatch(string(control), -1)
	if len(fields) == 0 {
		t.Fatal("debian/control names no architecture")
	}
	for _, field := range fields {
		got := strings.Fields(field[1])
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("debian/control has the architectures %v, the seccomp filter %v", got, want)
		}
	}
}
