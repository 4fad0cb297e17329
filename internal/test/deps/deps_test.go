package deps

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"regexp"
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

// floors are the wings of the product, from the top down. A package imports from its
// own wing and from the floors below, never from a wing beside its own.
var floors = [][]string{
	{"cmd"},
	{"internal/authserver", "internal/gateway", "internal/operator"},
	{"internal/session"},
	{"internal/launcher", "internal/forgejo"},
	{"internal/sandbox", "internal/store"},
	{"internal/proto", "internal/daemon"},
}

// aside are the wings that are no product: they import what they like, and no product
// imports them.
var aside = []string{"internal/test", "internal/tools"}

// linked says what a program must not link, by prefixes of import paths.
var linked = map[string][]string{
	"cmd/fjmcp-launcher": {"net/http", "gorm.io/", "github.com/jackc/", module + "internal/proto/oauth", module + "internal/store"},
	"cmd/fjmcp-session":  {"gorm.io/", "github.com/jackc/", "github.com/godbus/", module + "internal/store"},
	"cmd/fjmcpctl":       {"gorm.io/", "github.com/jackc/", "github.com/godbus/", "github.com/prometheus/"},
	"cmd/fjmcp-broker":   {"github.com/godbus/"},
}

// only says who alone may import something, by prefixes of import paths.
var only = map[string][]string{
	"gorm.io/":                         {"internal/store"},
	"github.com/jackc/":                {"internal/store", "internal/test/testpostgres"},
	module + "internal/store/schema":   {"internal/store"},
	module + "internal/store/sqlite":   {"internal/store"},
	module + "internal/store/postgres": {"internal/store"},
	"github.com/godbus/":               {"internal/daemon/systemd", "internal/launcher"},
	"github.com/prometheus/":           {"internal/operator/metrics"},
	"github.com/pelletier/":            {"internal/proto/policy"},
}

func under(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") })
}

// wing returns the wing a package is in and its floor, the top one being 0; floor -1
// for a wing aside, and no wing for a package outside all.
func wing(path string) (name string, floor int) {
	for floor, wings := range floors {
		for _, w := range wings {
			if under(path, w) {
				return w, floor
			}
		}
	}
	for _, w := range aside {
		if under(path, w) {
			return w, -1
		}
	}
	return "", -1
}

// fault says what is wrong with an import of one package of the module by another; ""
// if nothing is.
func fault(importer, imported string) string {
	from, floor := wing(importer)
	to, below := wing(imported)
	switch {
	case from == "":
		return importer + " is in no wing: move it into one, or name its wing in floors and in CONTRIBUTING.md"
	case floor < 0 || from == to:
		return ""
	case below < 0:
		return importer + " imports " + imported + ", which is no product"
	case below == floor:
		return importer + " imports " + imported + ", in the wing beside its own"
	case below < floor:
		return importer + " imports " + imported + ", which is above it"
	}
	return ""
}

func TestImportsRunDown(t *testing.T) {
	for path, p := range list(t) {
		if name, _ := wing(path); name == "" {
			t.Error(fault(path, path))
			continue
		}
		for _, imported := range p.Imports {
			if other, ours := strings.CutPrefix(imported, module); ours {
				if f := fault(path, other); f != "" {
					t.Error(f)
				}
			}
		}
	}
}

// What the test above would say of imports that there are not.
func TestWrongImportsAreFound(t *testing.T) {
	for _, tt := range []struct{ importer, imported, want string }{
		{"internal/session/unit", "internal/gateway", "above"},
		{"internal/gateway/call", "internal/authserver", "beside"},
		{"internal/store", "internal/test/teststore", "no product"},
		{"internal/sessions", "internal/store", "no wing"},
		{"internal/daemon/audit", "cmd/fjmcp-broker", "above"},
		{"internal/test/e2e", "internal/gateway", ""},
		{"cmd/fjmcp-broker", "internal/daemon/audit", ""},
		{"internal/session", "internal/session/unit", ""},
		{"internal/gateway", "internal/session", ""},
	} {
		if got := fault(tt.importer, tt.imported); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s importing %s: %q, want %q", tt.importer, tt.imported, got, tt.want)
		}
	}
}

func TestForbiddenDependencies(t *testing.T) {
	all := list(t)
	for program, forbidden := range linked {
		for _, dep := range all[program].Deps {
			for _, f := range forbidden {
				if strings.HasPrefix(dep, f) {
					t.Errorf("%s links %s", program, dep)
				}
			}
		}
	}
	for path, p := range all {
		for _, imported := range p.Imports {
			for lib, may := range only {
				if strings.HasPrefix(imported, lib) && !under(path, may...) {
					t.Errorf("%s imports %s; only %v may", path, imported, may)
				}
			}
		}
	}
}

// A rule about a path that has moved would forbid nothing.
func TestRulesNameWhatIsThere(t *testing.T) {
	all := list(t)
	var paths, libraries []string
	for _, wings := range append([][]string{aside}, floors...) {
		paths = append(paths, wings...)
	}
	for program, forbidden := range linked {
		paths, libraries = append(paths, program), append(libraries, forbidden...)
	}
	for lib, may := range only {
		paths, libraries = append(paths, may...), append(libraries, lib)
	}
	deps := map[string]bool{}
	for path, p := range all {
		deps[module+path] = true
		for _, d := range p.Deps {
			deps[d] = true
		}
	}
	for _, path := range paths {
		if !hasPrefix(all, path) {
			t.Errorf("there is no package in %s", path)
		}
	}
	for _, lib := range libraries {
		if !hasPrefix(deps, lib) {
			t.Errorf("nothing depends on %s", lib)
		}
	}
}

// hasPrefix reports whether a key is path or begins with it.
func hasPrefix[V any](all map[string]V, path string) bool {
	for key := range all {
		if under(key, strings.TrimSuffix(path, "/")) {
			return true
		}
	}
	return false
}

// importers is how package comments list who imports a package, or what it imports.
// The import graph knows, and such lists go stale.
var importers = regexp.MustCompile(`(?i)\bimports? (it\b|this|nothing|no\b|packages? |only|[a-z]+ (alone|only))|\bit imports\b|\b(made|used) by package`)

func TestEveryPackageIsDocumented(t *testing.T) {
	for path, p := range list(t) {
		doc := strings.Join(strings.Fields(p.Doc), " ")
		if doc == "" {
			t.Errorf("%s has no package comment", path)
		}
		if m := importers.FindString(doc); m != "" {
			t.Errorf("the package comment of %s lists importers or imports: %q", path, m)
		}
	}
}
