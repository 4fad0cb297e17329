// Package endpoint knows the addresses at which the broker serves MCP. People give one of
// them to a client, and it decides how much the client sees: the tools of one toolset, what
// only reads, or all.
//
//	/mcp              /mcp/readonly
//	/mcp/x/all        /mcp/x/all/readonly
//	/mcp/x/<toolset>  /mcp/x/<toolset>/readonly
//	/sse
//
// Each stands below the public URL, and may have a slash at its end, as people type it. Each
// is a protected resource of its own (RFC 9728), since clients compare what a server calls
// itself to the address that they were given, to the letter. At stake is what an access
// token opens that is bound to one of them (RFC 8707): what it was asked for and what is
// less, and no more.
package endpoint

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// Every stands for all toolsets in place of one's name.
const Every = "all"

const (
	toolsets = mcp.PathStreamable + "/x/"
	readonly = "/readonly"
)

// Path is an endpoint as a client wrote it. The zero value is none of them, and Within
// takes it for one that holds all.
type Path struct {
	Toolset  string // the only one that is shown; "" for all
	ReadOnly bool   // what changes something is neither shown nor done
	text     string
}

// Patterns are patterns of http.ServeMux that hold all endpoints, without a slash at their
// end. What they match is for Parse to judge.
var Patterns = []string{
	mcp.PathStreamable, mcp.PathStreamable + readonly, toolsets + "{toolset}", toolsets + "{toolset}" + readonly, mcp.PathSSE,
}

// All returns the endpoints without a slash at their end, the main one first. It is made
// once and must not be changed.
var All = sync.OnceValue(func() []Path {
	var all []Path
	add := func(text, toolset string) {
		all = append(all, Path{Toolset: toolset, text: text}, Path{Toolset: toolset, ReadOnly: true, text: text + readonly})
	}
	add(mcp.PathStreamable, "")
	add(toolsets+Every, "")
	for _, name := range forgeapi.Toolsets() {
		add(toolsets+name, name)
	}
	return append(all, Path{text: mcp.PathSSE})
})

// Offers reports whether there are endpoints for a toolset of that name, or for all.
func Offers(toolset string) bool {
	return toolset == Every || slices.Contains(forgeapi.Toolsets(), toolset)
}

// Parse reads a path below the public URL, with its escapes if it has any: no endpoint has
// one. The error is for who wrote it.
func Parse(text string) (Path, error) {
	bare := strings.TrimSuffix(text, "/")
	for _, p := range All() {
		if p.text == bare {
			p.text = text
			return p, nil
		}
	}
	return Path{}, unknown(text)
}

// longest is how much of a path is repeated to who wrote it, in bytes.
const longest = 64

func unknown(text string) error {
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return fmt.Errorf("there is no MCP server at %q; they are at %s, and at %s<toolset> for one of the toolsets %s, each maybe with %s at its end",
		text, mcp.PathStreamable, toolsets, strings.Join(forgeapi.Toolsets(), ", "), readonly)
}

// Of returns the endpoint that a resource's URL, of whatever server, names: a token is bound
// to it that this broker has given out, maybe when its public URL was another. Of none, "",
// it is the zero value.
func Of(resource string) (Path, bool) {
	if resource == "" {
		return Path{}, true
	}
	i := slices.IndexFunc(All(), func(p Path) bool { return strings.HasSuffix(resource, p.text) })
	if i < 0 {
		return Path{}, false
	}
	return All()[i], true
}

// String is the path below the public URL, as it was written.
func (p Path) String() string { return p.text }

// Bare is p without a slash at its end.
func (p Path) Bare() Path {
	p.text = strings.TrimSuffix(p.text, "/")
	return p
}

// Within reports whether all that can be seen and done at p can be at o.
func (p Path) Within(o Path) bool {
	return (o.Toolset == "" || o.Toolset == p.Toolset) && (p.ReadOnly || !o.ReadOnly)
}
