package deps

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fjmcp/fjmcp-broker/"

type pkg struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
	Deps       []string
}

// list runs `go list` once for all packages of the module.
func list(t *testing.T) map[string]pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,Deps", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = p
	}
}

// layers from the bottom up; a package imports from its own layer and those
// below. Test support and tools stand beside the layers.
var layers = [][]string{
	{"internal/proto/model", "internal/proto/oauth", "internal/proto/mcp", "internal/store/seal", "internal/daemon/audit", "internal/proto/control", "internal/proto/launcher", "internal/daemon/localhost", "internal/daemon/peercred", "internal/daemon/version", "internal/daemon/logging", "internal/launcher/backend", "internal/sandbox/denypath", "internal/session/eventstore", "internal/gateway/stateless", "internal/proto/mcp/rawjson", "internal/session/relay/lines", "internal/session/subscription", "internal/session"},
	{"internal/operator/config", "internal/store", "internal/forgejo", "internal/daemon/systemd"},
	{"internal/authserver", "internal/forgejo/tokens", "internal/gateway", "internal/gateway/streamable", "internal/gateway/httpsse", "internal/gateway/stateless", "internal/gateway/stateless", "internal/gateway/call", "internal/session", "internal/session", "internal/session", "internal/session", "internal/session/unit", "internal/session/unit", "internal/session/unit", "internal/session/unit", "internal/session/relay", "internal/launcher/client", "internal/launcher/credential", "internal/launcher", "internal/sandbox", "internal/authserver/pages", "internal/operator/admin", "internal/operator", "internal/daemon/httpserver", "internal/authserver/clientmeta", "internal/authserver", "internal/daemon/ratelimit"},
	{"cmd"},
}

var support = []string{"internal/test/fakeforge", "internal/test/testlog", "internal/test/fakemcp", "internal/test/nspawn", "internal/test/loginclient", "internal/test/localbroker", "internal/test/everything", "internal/test/npm", "internal/test/testcache", "internal/test/proxy", "internal/tools/bench/measure", "internal/test/integration", "internal/test/browser", "internal/test/conformance", "internal/test/e2e", "internal/test/podman", "internal/tools", "internal/test/deps", "internal/test/teststore", "internal/authserver/clientmeta/metatest"}

func under(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") })
}

func layer(path string) int {
	return slices.IndexFunc(layers, func(dirs []string) bool { return under(path, dirs) })
}

func TestImportsPointDown(t *testing.T) {
	for path, p := range list(t) {
		if under(path, support) {
			continue
		}
		own := layer(path)
		if own < 0 {
			t.Errorf("%s belongs to no layer: add it here and in docs/design.md", path)
		}
		for _, imported := range p.Imports {
			other, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if under(other, support) {
				t.Errorf("%s imports test support %s", path, other)
			} else if layer(other) > own {
				t.Errorf("%s imports %s, which is above it", path, other)
			}
		}
	}
}

// The privileged and the token-holding program link only what they need; one
// package each touches gorm and D-Bus.
func TestForbiddenDependencies(t *testing.T) {
	all := list(t)
	for _, rule := range []struct {
		path      string
		forbidden []string
	}{
		{"cmd/fjmcp-launcher", []string{"net/http", "gorm.io/", module + "internal/proto/oauth", module + "internal/store"}},
		{"cmd/fjmcp-session", []string{"gorm.io/", "github.com/godbus/", module + "internal/store"}},
		{"cmd/fjmcpctl", []string{"gorm.io/", "github.com/godbus/"}},
		{"cmd/fjmcp-broker", []string{"github.com/godbus/"}},
	} {
		for _, dep := range all[rule.path].Deps {
			for _, f := range rule.forbidden {
				if strings.HasPrefix(dep, f) {
					t.Errorf("%s links %s", rule.path, dep)
				}
			}
		}
	}
	only := map[string][]string{
		"gorm.io/":                       {"internal/store"},
		module + "internal/store/schema": {"internal/store"},
		module + "internal/store/sqlite": {"internal/store"},
		"github.com/godbus/":             {"internal/daemon/systemd", "internal/launcher"},
	}
	for path, p := range all {
		for _, imported := range p.Imports {
			for lib, may := range only {
				if strings.HasPrefix(imported, lib) && !under(path, may) {
					t.Errorf("%s imports %s; only %v may", path, imported, may)
				}
			}
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	for path, p := range list(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", path)
		}
	}
}

// All that the programs are made of is there for every architecture of the package.
func TestEveryArchitecture(t *testing.T) {
	control, err := os.ReadFile(filepath.Join("..", "..", "..", "debian", "control"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(control), "\nArchitecture: ")
	list, _, _ = strings.Cut(list, "\n")
	if list == "" {
		t.Fatal("debian/control names no architecture")
	}
	for _, arch := range strings.Fields(list) {
		if arch == "ppc64el" {
			arch = "ppc64le"
		}
		cmd := exec.Command("go", "list", "-deps", module+"cmd/...")
		cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0", "GOARCH="+arch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", arch, err, out)
		}
	}
}
