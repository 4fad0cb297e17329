package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// The real forgejo-mcp has the tools and templates of the table, and nothing else that a
// connection would have to be kept from.
func TestTableIsOfTheRealTools(t *testing.T) {
	s := realTools(t, serveHTTP(t, &recordingForge{}), "token")
	tools, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	templates, err := s.ListResourceTemplates(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tool := range tools.Tools {
		got = append(got, tool.Name)
	}
	for _, template := range templates.ResourceTemplates {
		got = append(got, template.URITemplate)
	}
	for _, name := range got {
		if _, ok := forgeapi.ToolNamed(name); !ok {
			t.Errorf("forgejo-mcp has a new tool or template, %s: judge it, and add a line to tools.tsv of package forgeapi, and its name to each route in routes.tsv that it uses", name)
		}
	}
	for _, tool := range forgeapi.AllTools() {
		if !slices.Contains(got, tool.Name) {
			t.Errorf("forgejo-mcp has no %s any more: when no version that we take has it, take it from tools.tsv and routes.tsv of package forgeapi", tool.Name)
		}
	}
	c := s.InitializeResult().Capabilities
	if c.Prompts != nil || c.Completions != nil || c.Resources == nil || c.Resources.Subscribe {
		t.Errorf("forgejo-mcp has new capabilities: %+v: the broker has to hide of them what a connection may not use", c)
	}
	if r, err := s.ListResources(t.Context(), nil); err != nil || len(r.Resources) > 0 {
		t.Errorf("forgejo-mcp lists resources, which are in no table: %+v, %v", r, err)
	}
}

// forgejo-mcp finds a template for just the URIs for which TemplateOf does, but for empty
// values, which it refuses later.
func TestTemplatesOfTheRealTools(t *testing.T) {
	s := realTools(t, serveHTTP(t, &recordingForge{}), "token")
	for _, uri := range templateCases() {
		_, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		unknown := err != nil && strings.Contains(err.Error(), "handler not found")
		if _, ok := forgeapi.TemplateOf(uri); ok == unknown {
			t.Errorf("%q: TemplateOf says %v, forgejo-mcp %v", uri, ok, err)
		}
	}
}

// templateCases are URIs of each template, and of none though they are near.
func templateCases() []string {
	var all []string
	for _, tool := range forgeapi.AllTools() {
		if tool.IsTemplate() {
			uri := expand(tool.Name)
			all = append(all, uri, uri+"?page=1", uri+"?", uri+"?x=y&z", uri+"/", uri+"#x", uri+"/x", strings.ToUpper(uri), strings.Replace(uri, "forgejo:", "x:", 1), uri+"%2", uri+"%2f", uri+"x,y~", uri+" ", uri+"\n", "x"+uri)
		}
	}
	return all
}

// The figures of docs/tools.md are those of the real forgejo-mcp.
func TestFiguresOfTheRealTools(t *testing.T) {
	s := realTools(t, serveHTTP(t, &recordingForge{}), "token")
	tools, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	whole := weigh(t, tools.Tools, func(forgeapi.Tool) bool { return true })
	want := "| toolset | tools | tokens | saved | tools that read | tokens | saved |\n|---|--:|--:|--:|--:|--:|--:|\n"
	for _, set := range append(forgeapi.Toolsets(), "all") {
		in := func(tool forgeapi.Tool) bool { return set == "all" || tool.Toolset == set }
		want += "| `" + set + "`"
		for _, w := range []weight{weigh(t, tools.Tools, in), weigh(t, tools.Tools, func(tool forgeapi.Tool) bool { return in(tool) && tool.Reads() })} {
			want += fmt.Sprintf(" | %d | %d | %d %%", w.tools, w.tokens(), 100*(whole.bytes-w.bytes)/whole.bytes)
		}
		want += " |\n"
	}
	page, err := os.ReadFile("../../docs/tools.md")
	if err != nil || !strings.Contains(string(page), "\n\n"+want+"\n") {
		t.Errorf("%v: the figures in docs/tools.md are to be\n%s", err, want)
	}
}

// weight is that of tools as a client gives them to its model.
type weight struct{ tools, bytes int }

// tokens are some. OpenAI's o200k_base has 4.2 to 4.7 bytes in one, by toolset.
func (w weight) tokens() int { return (w.bytes*10/45 + 5) / 10 * 10 }

func weigh(t *testing.T, tools []*mcp.Tool, counts func(forgeapi.Tool) bool) weight {
	t.Helper()
	var w weight
	for _, tool := range tools {
		if known, _ := forgeapi.ToolNamed(tool.Name); counts(known) {
			var text bytes.Buffer
			e := json.NewEncoder(&text)
			e.SetEscapeHTML(false)
			if err := e.Encode(map[string]any{"name": tool.Name, "description": tool.Description, "inputSchema": tool.InputSchema}); err != nil {
				t.Fatal(err)
			}
			w.tools, w.bytes = w.tools+1, w.bytes+text.Len()
		}
	}
	return w
}
