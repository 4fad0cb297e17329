package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/view"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// door lets everybody in who has a token, with all rights, and notes where he asked.
type door struct{ asked []string }

func (d *door) Authenticate(r *http.Request, at endpoint.Path) (model.Access, error) {
	d.asked = append(d.asked, at.String())
	if r.Header.Get("Authorization") == "" {
		return model.Access{}, model.ErrNotFound
	}
	return model.Access{User: model.User{ID: "u"}, Scope: model.GrantedScope("")}, nil
}

func (d *door) Challenge(at endpoint.Path, _ error) (int, string, *oauth.Error) {
	return http.StatusUnauthorized, "Bearer at " + at.String(), oauth.Errorf("invalid_token", "")
}

// ping answers a request that needs no session.
const ping = `{"jsonrpc":"2.0","id":7,"method":"ping"}`

func served(t *testing.T, prefix string) (*http.ServeMux, *door) {
	t.Helper()
	public, err := url.Parse("https://mcp.example.org" + prefix)
	if err != nil {
		t.Fatal(err)
	}
	mux, d := http.NewServeMux(), &door{}
	New(Config{PublicURL: public, Auth: d}).Routes(mux)
	return mux, d
}

func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, "https://mcp.example.org"+path, strings.NewReader(ping)), httptest.NewRecorder()
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	h.ServeHTTP(w, r)
	return w
}

// Every endpoint is served below the prefix, with and without a slash, and whoever has no
// token is told where to log in for the address as it was written.
func TestEndpointsAreServed(t *testing.T) {
	for _, prefix := range []string{"", "/p", "/a/mcp"} {
		mux, d := served(t, prefix)
		for _, at := range endpoint.All() {
			for _, slash := range []string{"", "/"} {
				path := at.String() + slash
				if w := ask(mux, "POST", prefix+path); w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer at "+path {
					t.Errorf("%s: %d %v", path, w.Code, w.Header())
				}
				want, status := `{"jsonrpc":"2.0","id":7,"result":{}}`, 200
				if at.String() == "/sse" {
					want, status = "GET opens the event stream", 405
				}
				if w := ask(mux, "POST", prefix+path, "Authorization", "Bearer x"); w.Code != status || !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s: %d %s", path, w.Code, w.Body)
				}
				if d.asked[len(d.asked)-1] != path {
					t.Errorf("%s is asked about as %q", path, d.asked[len(d.asked)-1])
				}
			}
		}
		if w := ask(mux, "POST", prefix+"/messages?sessionId=x"); w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer at /sse" {
			t.Errorf("/messages: %d %v", w.Code, w.Header())
		}
	}
}

// What is not an endpoint is so to everybody: nothing asks for a login, and none is served.
func TestOtherPathsAreNotServed(t *testing.T) {
	long := "/mcp/x/" + strings.Repeat("a", 100_000)
	for _, prefix := range []string{"", "/p"} {
		mux, d := served(t, prefix)
		for _, path := range []string{
			"/mcp/x", "/mcp/x/", "/mcp/x/nothing", "/mcp/x/nothing/readonly", "/mcp/x/Issues", "/mcp/x/issues/readonly/readonly", "/mcp/issues", "/mcp/readonly/x/issues", "/MCP", "/mcp%2fx%2fissues",
			"/mcp/x%2fissues", "/mcp/x/issues%2freadonly", "/mcp/x/%69ssues", "/mcp/x/issues%00", "/mcp/x/%C4%B1ssues", "/mcp/x/issues%20", "/mcp/x/..%2f..%2faccount", "/mcp/x/issues;x=y", "/sse/readonly",
			"/mcp/x/.well-known/openid-configuration", long,
		} {
			for _, token := range []string{"", "Bearer x"} {
				w := ask(mux, "POST", prefix+path, "Authorization", token)
				if w.Code != 404 || w.Header().Get("WWW-Authenticate") != "" || w.Body.Len() > 1000 {
					t.Errorf("%.60s: %d %.1200s", path, w.Code, w.Body)
				}
			}
		}
		if w := ask(mux, "POST", prefix+"/mcp/x/nothing"); !strings.Contains(w.Body.String(), `"error":{"code":-32600`) || !strings.Contains(w.Body.String(), strings.Join(forgeapi.Toolsets(), ", ")) {
			t.Errorf("it does not say which toolsets there are: %s", w.Body)
		}
		for _, path := range []string{"/mcp//x/issues", "/mcp/x/../x/issues", "/mcp/./x/issues", "/mcp/x/../../account", "/mcp/x/issues/../../../etc/passwd"} {
			w := ask(mux, "POST", prefix+path, "Authorization", "Bearer x")
			if to := w.Header().Get("Location"); w.Code/100 == 2 || w.Code/100 == 3 && (!strings.HasPrefix(to, "/") || strings.Contains(to, "..")) {
				t.Errorf("%s: %d %s", path, w.Code, to)
			}
		}
		if len(d.asked) > 0 {
			t.Errorf("tokens were looked at for %v", d.asked)
		}
	}
}

// What URL and headers say together, and what is said where they contradict themselves.
func TestWishes(t *testing.T) {
	some := []string{"issues", "wiki"}
	for _, tt := range []struct {
		path   string
		header []string
		want   view.View
		fault  string
	}{
		{"/mcp", nil, view.View{}, ""},
		{"/sse/", nil, view.View{}, ""},
		{"/mcp/x/all", nil, view.View{}, ""},
		{"/mcp/x/issues/", nil, view.View{Toolsets: some[:1]}, ""},
		{"/mcp/x/issues/readonly", nil, view.View{ReadOnly: true, Toolsets: some[:1]}, ""},
		{"/mcp/readonly", nil, view.View{ReadOnly: true}, ""},
		{"/mcp", []string{"X-MCP-Toolsets", "wiki, issues"}, view.View{Toolsets: some}, ""},
		{"/mcp", []string{"x-mcp-toolsets", "issues", "X-Mcp-Toolsets", ", wiki ,issues,"}, view.View{Toolsets: some}, ""},
		{"/sse", []string{"X-MCP-Toolsets", "issues"}, view.View{Toolsets: some[:1]}, ""},
		{"/mcp/readonly", []string{"X-MCP-Toolsets", "issues"}, view.View{ReadOnly: true, Toolsets: some[:1]}, ""},
		{"/mcp/x/all/readonly", []string{"X-MCP-Toolsets", "issues"}, view.View{ReadOnly: true, Toolsets: some[:1]}, ""},
		{"/mcp", []string{"X-MCP-Toolsets", "issues,all"}, view.View{}, ""},
		{"/mcp", []string{"X-MCP-Toolsets", ""}, view.View{}, ""},
		{"/mcp/x/issues", []string{"X-MCP-Toolsets", " "}, view.View{Toolsets: some[:1]}, ""},
		{"/mcp/x/issues", []string{"X-MCP-Toolsets", "issues"}, view.View{}, "of issues alone"},
		{"/mcp/x/issues/readonly", []string{"X-MCP-Toolsets", "wiki"}, view.View{}, "of issues alone"},
		{"/mcp", []string{"X-MCP-Toolsets", "issues,nothing"}, view.View{}, `"nothing", which is no toolset; they are repositories`},
		{"/mcp", []string{"X-MCP-Toolsets", "Issues"}, view.View{}, "no toolset"},
		{"/mcp", []string{"X-MCP-Toolsets", "issues;wiki"}, view.View{}, "no toolset"},
		{"/mcp", []string{"X-MCP-Toolsets", strings.Repeat("ä", 5000)}, view.View{}, "no toolset"},
		{"/mcp", []string{"X-MCP-Readonly", "true"}, view.View{ReadOnly: true}, ""},
		{"/sse", []string{"X-MCP-Readonly", " True "}, view.View{ReadOnly: true}, ""},
		{"/mcp/x/wiki", []string{"X-MCP-Readonly", "true"}, view.View{ReadOnly: true, Toolsets: some[1:]}, ""},
		{"/mcp", []string{"X-MCP-Readonly", "false"}, view.View{}, ""},
		{"/mcp", []string{"X-MCP-Readonly", ""}, view.View{}, ""},
		{"/mcp/readonly", []string{"X-MCP-Readonly", "false"}, view.View{ReadOnly: true}, ""},
		{"/mcp", []string{"X-MCP-Readonly", "1"}, view.View{}, "must be true or false"},
		{"/mcp", []string{"X-MCP-Readonly", "yes"}, view.View{}, "must be true or false"},
	} {
		at, err := endpoint.Parse(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		q := &request{Request: httptest.NewRequest("POST", tt.path, nil), at: at, access: model.Access{Scope: model.GrantedScope("")}}
		for i := 0; i < len(tt.header); i += 2 {
			q.Header.Add(tt.header[i], tt.header[i+1])
		}
		err = q.narrow()
		if (err == nil) != (tt.fault == "") || err != nil && (!strings.Contains(err.Error(), tt.fault) || len(err.Error()) > 500) {
			t.Errorf("%s %.60q: %.600v", tt.path, tt.header, err)
			continue
		}
		got := view.Of(q.Context())
		if err == nil && (got.ReadOnly != tt.want.ReadOnly || (got.Toolsets == nil) != (tt.want.Toolsets == nil) || !slices.Equal(got.Toolsets, tt.want.Toolsets)) {
			t.Errorf("%s %q: %+v", tt.path, tt.header, got)
		}
		if q.access.ViewReadOnly != got.ReadOnly || model.ReadOnly(q.access.Scope) != got.ReadOnly {
			t.Errorf("%s %q: it may do %+v", tt.path, tt.header, q.access)
		}
	}
}

// A fault in a header is a fault of a known client's, in the words of JSON-RPC.
func TestFaultsOfHeaders(t *testing.T) {
	mux, _ := served(t, "/p")
	for _, header := range [][]string{{"X-MCP-Readonly", "maybe"}, {"X-MCP-Toolsets", "x"}, {"X-MCP-Readonly", "true", "X-MCP-Readonly", "false"}} {
		w := ask(mux, "POST", "/p/mcp", append(header, "Authorization", "Bearer x")...)
		if w.Code != 400 || !strings.Contains(w.Body.String(), `"error":{"code":-32600,"message":"`) || !strings.Contains(strings.ToLower(w.Body.String()), strings.ToLower(header[0])) {
			t.Errorf("%v: %d %s", header, w.Code, w.Body)
		}
	}
	if w := ask(mux, "POST", "/p/mcp", "X-MCP-Readonly", "maybe"); w.Code != 401 {
		t.Errorf("without a token: %d", w.Code)
	}
}
