// Package front is the front door: what somebody meets who opens an address of this server
// in a browser and has no login yet. The front page says what this is and connects a client
// with one click or one command, so that nobody has to look for the MCP endpoint; what
// programs are told by a status and JSON, people are told by a page that says what to do.
//
// What it shows is public: it is made from the settings alone, and knows no user. A program
// that asked for JSON or an event stream and got a page would be broken by it; which of
// them asks is for httpserver.Prefers to say.
package front

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/pages"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// Door serves the front page. It is safe for concurrent use.
type Door struct {
	frame    pages.Frame
	endpoint string // URL of the MCP endpoint
	page     []byte
	made     time.Time
}

// New returns the Door of s. name is what the operator calls the server, "" for nothing.
func New(s *site.Site, name string) *Door {
	d := &Door{frame: s.Frame(), endpoint: s.Issuer + mcp.PathStreamable, made: s.Now()}
	c := Connection{Name: ServerName(name), Title: name, URL: d.endpoint}
	if c.Title == "" {
		c.Title = d.frame.Forge
	}
	d.page = pages.Front{
		Endpoint: d.endpoint, SSE: s.Issuer + mcp.PathSSE, Account: s.AccountURL(), ReadOnly: !s.Forgejo.MayWrite(),
		Links: c.Links(), Commands: c.Commands(), Views: views(s), Toolsets: otherToolsets(),
	}.Render(d.frame)
	return d
}

// example is the toolset that stands in the addresses of the page.
const example = "issues"

// views are the addresses that show fewer tools.
func views(s *site.Site) (list []pages.View) {
	for _, at := range endpoint.All() {
		shows := ""
		switch {
		case at.ReadOnly && !s.Forgejo.MayWrite(): // as any other does
		case at.String() == mcp.PathStreamable+"/readonly":
			shows = "Only tools that read"
		case at.Toolset == example && at.ReadOnly:
			shows = "One group, only tools that read"
		case at.Toolset == example:
			shows = "One group of tools"
		}
		if shows != "" {
			list = append(list, pages.View{Shows: shows, URL: s.Issuer + at.String()})
		}
	}
	return list
}

func otherToolsets() []string {
	return slices.DeleteFunc(forgeapi.Toolsets(), func(name string) bool { return name == example })
}

// Routes registers the page, below prefix, and the icon of all pages.
func (d *Door) Routes(mux *http.ServeMux, prefix string) {
	mux.HandleFunc(prefix+"/{$}", d.serve)
	if prefix != "" {
		mux.HandleFunc(prefix, d.serve)
	}
	mux.HandleFunc("GET "+prefix+"/favicon.svg", d.icon)
}

// cached is how long a browser may keep what changes with the settings alone.
const cached = "public, max-age=300"

// serve shows the page. A client that was given its address in place of the endpoint's is
// told the right one: most of them show their users what a server says.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	hint := oauth.Errorf("not_found", "this is not the MCP endpoint; that is %s", d.endpoint)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		httpserver.WriteJSON(w, http.StatusMethodNotAllowed, hint)
	case httpserver.Prefers(r) == httpserver.JSON:
		httpserver.WriteJSON(w, http.StatusNotFound, hint)
	default:
		pages.SetHeaders(w.Header())
		w.Header().Set("Cache-Control", cached)
		http.ServeContent(w, r, "", d.made, bytes.NewReader(d.page))
	}
}

func (d *Door) icon(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "image/svg+xml")
	h.Set("Content-Security-Policy", "default-src 'none'") // it may be opened as a page of its own
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", cached)
	http.ServeContent(w, r, "", d.made, bytes.NewReader([]byte(pages.Icon)))
}
