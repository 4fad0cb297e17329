package endpoint

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// Every address that docs/toolsets.md names is one, and what it says is what it is.
func TestParse(t *testing.T) {
	want := map[string]Path{
		"/mcp": {}, "/mcp/readonly": {ReadOnly: true}, "/mcp/x/all": {}, "/mcp/x/all/readonly": {ReadOnly: true}, "/sse": {},
	}
	for _, name := range forgeapi.Toolsets() {
		want["/mcp/x/"+name], want["/mcp/x/"+name+"/readonly"] = Path{Toolset: name}, Path{Toolset: name, ReadOnly: true}
	}
	for text, w := range want {
		for _, slash := range []string{"", "/"} {
			p, err := Parse(text + slash)
			if err != nil || p.Toolset != w.Toolset || p.ReadOnly != w.ReadOnly || p.String() != text+slash || p.Bare().String() != text {
				t.Errorf("%s%s: %+v, %v", text, slash, p, err)
			}
		}
	}
	if len(All()) != len(want) || All()[0].String() != "/mcp" {
		t.Errorf("%d endpoints are listed, want %d: %v", len(All()), len(want), All())
	}
	for _, p := range All() {
		if _, ok := want[p.String()]; !ok {
			t.Errorf("%s is listed", p)
		}
	}
}

var hostile = []string{
	"", "/", "mcp", "/MCP", "/mcp//", "/mcp/x", "/mcp/x/", "/mcp/x//", "/mcp/x/ALL", "/mcp/x/Issues", "/mcp/x/issues//", "/mcp/x/issues/Readonly", "/mcp/x/issues/readonly/x",
	"/mcp/x/issues/readonly//", "/mcp/readonly/readonly", "/mcp/readonly/x/issues", "/mcp/issues", "/mcp/x/issues,wiki", "/mcp/x/issues/wiki", "/mcp/x/nothing", "/mcp/x/../admin",
	"/mcp/x/..", "/mcp/./x/issues", "/mcp/x/%69ssues", "/mcp/x%2fissues", "/mcp%2fx%2fissues", "/mcp/x/issues%2freadonly", "/mcp/x/issues%00", "/mcp/x/issues?x", "/mcp/x/issues#x", "/mcp/x/issues;x",
	"/mcp/x/ıssues", "/mcp/x/issues\u200b", "/mcp/x/ⅰssues", "/mcp/x/{toolset}", "/mcp/x/readonly", "/mcp/x/ issues", "/sse/readonly", "/sse/x/issues", "/sse//", "/messages", "/mcp/x/" + strings.Repeat("a", 1<<20),
}

func TestParseRefuses(t *testing.T) {
	for _, text := range hostile {
		p, err := Parse(text)
		if err == nil || p != (Path{}) {
			t.Errorf("%.80q is %+v", text, p)
			continue
		}
		if said := err.Error(); len(said) > 600 || !strings.Contains(said, "issues, ") || !strings.Contains(said, "/readonly") || !utf8.ValidString(said) {
			t.Errorf("%.80q: %.800s", text, said)
		}
	}
}

// What is within something shows and does no more than that.
func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		in, out string
		want    bool
	}{
		{"/mcp", "/mcp", true}, {"/mcp", "/sse", true}, {"/sse", "/mcp/", true}, {"/mcp", "/mcp/x/all", true}, {"/mcp/x/all", "/sse", true},
		{"/mcp/readonly", "/mcp", true}, {"/mcp", "/mcp/readonly", false}, {"/sse", "/mcp/readonly", false}, {"/mcp/x/all/readonly", "/mcp/readonly", true},
		{"/mcp/x/issues", "/mcp", true}, {"/mcp/x/issues", "/mcp/x/all", true}, {"/mcp", "/mcp/x/issues", false}, {"/mcp/x/all", "/mcp/x/issues", false},
		{"/mcp/x/issues", "/mcp/x/wiki", false}, {"/mcp/x/issues/", "/mcp/x/issues", true}, {"/mcp/x/issues/readonly", "/mcp/x/issues", true},
		{"/mcp/x/issues", "/mcp/x/issues/readonly", false}, {"/mcp/x/issues/readonly", "/mcp/readonly", true}, {"/mcp/readonly", "/mcp/x/issues/readonly", false},
		{"/mcp/x/issues", "/mcp/readonly", false}, {"/mcp/x/wiki/readonly", "/mcp/x/issues/readonly", false},
	} {
		in, err := Parse(tt.in)
		out, err2 := Parse(tt.out)
		if got := in.Within(out); err != nil || err2 != nil || got != tt.want {
			t.Errorf("%s within %s: %v, %v, %v", tt.in, tt.out, got, err, err2)
		}
	}
	for _, p := range All() {
		if !p.Within(p) || !p.Within(Path{}) || !p.Within(All()[0]) {
			t.Errorf("%s is not within itself, or all", p)
		}
		for _, q := range All() {
			for _, r := range All() {
				if p.Within(q) && q.Within(r) && !p.Within(r) {
					t.Errorf("%s, %s, %s", p, q, r)
				}
			}
		}
	}
}

// A token's resource is found again, also of a server that has another URL by now.
func TestOf(t *testing.T) {
	for _, server := range []string{"https://b.example", "https://b.example/mcp", "http://127.0.0.1:8080/a/sse"} {
		for _, p := range All() {
			if got, ok := Of(server + p.String()); !ok || got != p {
				t.Errorf("%s%s: %v, %v", server, p, got, ok)
			}
		}
	}
	if p, ok := Of(""); !ok || p != (Path{}) {
		t.Errorf("none: %v, %v", p, ok)
	}
	for _, resource := range []string{"https://b.example", "https://b.example/", "https://b.example/mcp/x/gone", "https://b.example/mcp/x/gone/readonly", "https://b.example/xmcp/x", "x"} {
		if p, ok := Of(resource); ok {
			t.Errorf("%s: %v", resource, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range All() {
		f.Add(p.String())
	}
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if p != (Path{}) || len(err.Error()) > 600 {
				t.Errorf("%+v, %v", p, err)
			}
			return
		}
		if p.String() != text || strings.ContainsAny(text, "%.\\?# ") || strings.Contains(text, "//") || !Offers(p.Toolset) && p.Toolset != "" {
			t.Errorf("%q is %+v", text, p)
		}
		again, err := Parse(p.String())
		if err != nil || again != p || !p.Within(again) {
			t.Errorf("%q is %+v, and then %+v, %v", text, p, again, err)
		}
		found, ok := Of("https://b.example" + p.Bare().String())
		if !ok || found != p.Bare() {
			t.Errorf("%q is found as %v", text, found)
		}
	})
}
