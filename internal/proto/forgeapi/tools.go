package forgeapi

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

// Effect is what a tool does at the forge.
type Effect string

// Effects.
const (
	EffectReads    Effect = "reads"
	EffectChanges  Effect = "changes"
	EffectDestroys Effect = "destroys" // what it does cannot be taken back, or takes something away
)

//go:embed tools.tsv
var toolTable string

// Tool is a line of the table: a tool of forgejo-mcp, or one of its resource templates.
type Tool struct {
	Name       string // of the tool, or the template's URI (RFC 6570)
	Title      string // for people, such as "List my repositories"
	Toolset    string
	Effect     Effect
	Idempotent bool // as the package's comment says
}

// AllTools returns the whole table in its order. It is made once and must not be changed.
var AllTools = sync.OnceValue(func() []Tool {
	var all []Tool
	for line := range strings.Lines(toolTable) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		all = append(all, Tool{Name: f[0], Title: f[1], Toolset: f[2], Effect: Effect(f[3]), Idempotent: f[4] == "idempotent"})
	}
	return all
})

var byName = sync.OnceValue(func() map[string]Tool {
	m := make(map[string]Tool)
	for _, t := range AllTools() {
		m[t.Name] = t
	}
	return m
})

var byTool = sync.OnceValue(func() map[string][]Route {
	m := make(map[string][]Route)
	for _, r := range Routes() {
		for _, name := range r.Tools {
			m[name] = append(m[name], r)
		}
	}
	return m
})

var acrossTools = sync.OnceValue(func() map[string]bool {
	m := make(map[string]bool)
	for _, t := range AllTools() {
		routes := slices.Clone(t.Routes())
		if t.Reads() {
			m[t.Name] = slices.ContainsFunc(routes, Route.Across)
			continue
		}
		routes = slices.DeleteFunc(routes, func(r Route) bool { return r.Method == "GET" })
		m[t.Name] = len(routes) > 0 && !slices.ContainsFunc(routes, func(r Route) bool { return !r.Across() })
	}
	return m
})

// Across reports whether the tool can do nothing without a request that concerns several
// repositories: to read it needs all of its routes, to change something one of those that
// do.
func (t Tool) Across() bool { return acrossTools()[t.Name] }

// ToolNamed returns the tool, or the resource template, of exactly that name.
func ToolNamed(name string) (Tool, bool) {
	t, ok := byName()[name]
	return t, ok
}

// TemplateOf returns the resource template that a resource's URI matches. It takes what
// forgejo-mcp takes, which matches a URI as it is written: no escape is undone, a variable
// holds no slash, and only a template that has parameters has a query. Their names and
// values do not matter. There is at most one.
func TemplateOf(uri string) (Tool, bool) {
	path, _, query := strings.Cut(uri, "?")
	for _, t := range AllTools() {
		template, _, parameters := strings.Cut(t.Name, "{?")
		if t.IsTemplate() && (parameters || !query) && expands(template, path) {
			return t, true
		}
	}
	return Tool{}, false
}

// expands reports whether the template, whose variables are whole segments, can become
// path.
func expands(template, path string) bool {
	return slices.EqualFunc(strings.Split(template, "/"), strings.Split(path, "/"), func(want, got string) bool {
		if strings.HasPrefix(want, "{") {
			return isValue(got)
		}
		return want == got
	})
}

// isValue reports whether a variable may stand for s: unreserved characters, commas and
// escapes (RFC 6570, section 3.2.2). forgejo-mcp refuses an empty one.
func isValue(s string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~,"
	return s != "" && strings.Trim(escape.ReplaceAllLiteralString(s, ""), plain) == ""
}

// Toolsets returns the names of the toolsets in the table's order.
func Toolsets() []string {
	var all []string
	for _, t := range AllTools() {
		all = append(all, t.Toolset)
	}
	return slices.Compact(all)
}

// IsTemplate reports whether it is a resource template.
func (t Tool) IsTemplate() bool { return strings.Contains(t.Name, "://") }

// Reads reports whether it changes nothing at the forge.
func (t Tool) Reads() bool { return t.Effect == EffectReads }

// Routes returns what it asks of the forge, in the order of the table of routes. It must
// not be changed.
func (t Tool) Routes() []Route { return byTool()[t.Name] }
