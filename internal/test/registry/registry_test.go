package registry

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

const (
	root   = "../../../"
	module = "github.com/modelcontextprotocol/registry"
	// version and sum are of one release; raise both when the schema changes.
	version = "v1.8.9"
	sum     = "h1:2pYB31q/uSezVbXu+D+Hr3HMimGFspgS1RTMljm1bVI="
)

// schema returns the registry's schema of that name, such as 2025-12-11.
func schema(t *testing.T, name string) *jsonschema.Resolved {
	t.Helper()
	get := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module+"@"+version)
	get.Dir = t.TempDir() // of no module: its go.sum would be written to
	out, err := get.Output()
	var got struct{ Dir, Sum, Error string }
	if json.Unmarshal(out, &got) != nil || got.Error != "" || err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("cannot get the registry's schema: %v %s", err, got.Error)
		}
		t.Skipf("cannot get the registry's schema: %v %s", err, got.Error)
	}
	if got.Sum != sum {
		t.Fatalf("%s %s has the sum %s", module, version, got.Sum)
	}
	var s jsonschema.Schema
	read(t, filepath.Join(got.Dir, "internal/validators/schemas", name+".json"), &s)
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func read(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestServerJSON(t *testing.T) {
	var server map[string]any
	read(t, root+"server.json", &server)
	id, _ := server["$schema"].(string)
	name := regexp.MustCompile(`/schemas/([0-9-]+)/server\.schema\.json$`).FindStringSubmatch(id)
	if name == nil {
		t.Fatalf("$schema is %q", id)
	}
	s := schema(t, name[1])
	if err := s.Validate(server); err != nil {
		t.Fatal(err)
	}
	// The schema is one that refuses, and in more places than the first.
	for path, wrong := range map[string]any{"name": "no namespace", "description": strings.Repeat("a", 101), "version": 4, "remotes": []any{map[string]any{"type": "sse", "url": "ftp://x"}}} {
		spoiled := map[string]any{}
		read(t, root+"server.json", &spoiled)
		spoiled[path] = wrong
		if s.Validate(spoiled) == nil {
			t.Errorf("%s may be %v", path, wrong)
		}
	}
}

// What it says is so: the version is that of the package, and with a broker's address in
// place of the variables the URLs are its endpoints.
func TestServerJSONSaysWhatIsSo(t *testing.T) {
	var server struct {
		Version string
		Remotes []struct {
			Type, URL string
			Variables map[string]struct {
				IsRequired  bool
				Placeholder string
			}
		}
	}
	read(t, root+"server.json", &server)
	changelog, err := os.ReadFile(root + "debian/changelog")
	if err != nil {
		t.Fatal(err)
	}
	if of := regexp.MustCompile(`^\S+ \(([0-9.]+)`).FindSubmatch(changelog); of == nil || string(of[1]) != server.Version {
		t.Errorf("server.json is of version %s, debian/changelog of %s", server.Version, of)
	}
	variable := regexp.MustCompile(`\{([^}]*)\}`)
	paths := map[string]string{"streamable-http": mcp.PathStreamable, "sse": mcp.PathSSE}
	for _, r := range server.Remotes {
		filled := variable.ReplaceAllStringFunc(r.URL, func(name string) string {
			v := r.Variables[strings.Trim(name, "{}")]
			if !v.IsRequired || v.Placeholder == "" {
				t.Errorf("%s: %s is not told of", r.URL, name)
			}
			return v.Placeholder
		})
		u, err := url.Parse(filled)
		if err != nil || u.Scheme != "https" || u.Host != "mcp.example.org" || u.Path != paths[r.Type] {
			t.Errorf("%s becomes %s, %v", r.URL, filled, err)
		}
		delete(paths, r.Type)
	}
	if len(paths) > 0 {
		t.Errorf("no remote for %v", paths)
	}
}
