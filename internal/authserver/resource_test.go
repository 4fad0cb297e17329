package authserver_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// bound logs in with a resource, as a client names it, and returns the tokens.
func (w *world) bound(c client, resource string) (access, refresh string) {
	w.t.Helper()
	if resource != "" {
		resource = w.url + resource
	}
	return w.tokens(c, w.logIn(c, "resource", resource))
}

// A token works at the resource that its login was for and at what is within it. One
// without works everywhere.
func TestTokensAreBound(t *testing.T) {
	w := newWorldAt(t, "/p")
	c := w.newClient()
	for _, tt := range []struct {
		resource string
		good     func(at endpoint.Path) bool
	}{
		{"", func(endpoint.Path) bool { return true }},
		{"/mcp", func(endpoint.Path) bool { return true }},
		{"/sse/", func(endpoint.Path) bool { return true }},
		{"/mcp/x/all", func(endpoint.Path) bool { return true }},
		{"/mcp/readonly/", func(at endpoint.Path) bool { return at.ReadOnly }},
		{"/mcp/x/all/readonly", func(at endpoint.Path) bool { return at.ReadOnly }},
		{"/mcp/x/issues", func(at endpoint.Path) bool { return at.Toolset == "issues" }},
		{"/mcp/x/issues/readonly", func(at endpoint.Path) bool { return at.Toolset == "issues" && at.ReadOnly }},
	} {
		token, _ := w.bound(c, tt.resource)
		opened := 0
		for _, at := range endpoint.All() {
			for _, slash := range []string{"", "/"} {
				access, err := w.accessAt(at.String()+slash, token)
				var other authserver.OtherResource
				switch {
				case tt.good(at) && (err != nil || access.User.Name != "alice"):
					t.Errorf("a token for %q at %s%s: %v", tt.resource, at, slash, err)
				case !tt.good(at) && (!errors.As(err, &other) || string(other) != w.url+strings.TrimSuffix(tt.resource, "/") || access.GrantID != ""):
					t.Errorf("a token for %q at %s%s: %+v, %v", tt.resource, at, slash, access, err)
				case err == nil:
					opened++
				}
			}
		}
		if opened == 0 {
			t.Errorf("a token for %q opens nothing", tt.resource)
		}
	}
}

// Where the public URL has changed, logins of before go on, and are for what they were for.
func TestBoundTokensOutliveTheURL(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	all, _ := w.bound(c, "/sse")
	issues, _ := w.bound(c, "/mcp/x/issues")
	moved, err := url.Parse("https://elsewhere.example/p")
	w.must(err)
	w.server = w.newServer(moved, w.store)
	if _, err := w.accessAt("/mcp/x/wiki", all); err != nil {
		t.Error(err)
	}
	if _, err := w.accessAt("/mcp/x/issues", issues); err != nil {
		t.Error(err)
	}
	var other authserver.OtherResource
	if _, err := w.accessAt("/mcp", issues); !errors.As(err, &other) {
		t.Errorf("%v", err)
	}
}

// A refresh may name what the login was for, or less, and the new token is for what the old
// one was. For more the client has to log in again, and its refresh token stays good.
func TestRefreshKeepsTheResource(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	_, refresh := w.bound(c, "/mcp/x/issues")
	for path := range strings.FieldsSeq("/mcp /sse /mcp/readonly /mcp/x/all /mcp/x/wiki /mcp/x/wiki/readonly") {
		w.post("/oauth/token", c.refreshForm(refresh, "resource", w.url+path)).wantError(t, 400, "invalid_grant", "this login is for "+w.url+"/mcp/x/issues; log in again for "+w.url+path)
	}
	w.post("/oauth/token", c.refreshForm(refresh, "resource", w.url+"/mcp/x/nothing")).wantError(t, 400, "invalid_target", "toolsets")
	for path := range strings.FieldsSeq("/mcp/x/issues/ /mcp/x/issues/readonly") {
		a := w.post("/oauth/token", c.refreshForm(refresh, "resource", w.url+path))
		if a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, a.StatusCode, a.body)
		}
		token := a.json(t)["access_token"].(string)
		if _, err := w.accessAt("/mcp/x/issues", token); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if err := w.bearer(token); err == nil {
			t.Errorf("%s: it opens /mcp", path)
		}
		refresh = a.json(t)["refresh_token"].(string)
	}
}

// The token endpoint takes the resource of the authorization request alone; the two
// addresses of all tools are one.
func TestCodeAndResource(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	for _, tt := range []struct {
		login, token string
		good         bool
	}{
		{"/mcp", "/sse", true}, {"/sse", "/mcp/x/all/", true}, {"", "/mcp/x/issues", true}, {"/mcp/x/issues", "", true}, {"/mcp/x/issues/", "/mcp/x/issues", true},
		{"/mcp", "/mcp/x/issues", false}, {"/mcp/x/issues", "/mcp", false}, {"/mcp/readonly", "/mcp", false}, {"/mcp/x/issues/readonly", "/mcp/x/wiki/readonly", false},
	} {
		login, token := "", ""
		if tt.login != "" {
			login = w.url + tt.login
		}
		if tt.token != "" {
			token = w.url + tt.token
		}
		a := w.post("/oauth/token", c.tokenForm(w.logIn(c, "resource", login), "resource", token))
		if tt.good && a.StatusCode != http.StatusOK || !tt.good && (a.StatusCode != 400 || a.json(t)["error"] != "invalid_target") {
			t.Errorf("%s, then %s: %d %s", tt.login, tt.token, a.StatusCode, a.body)
		}
	}
}

// Who logs in for reading is not asked about more, is given no more, and may repeat the
// scope that his client asks for everywhere.
func TestReadOnlyResource(t *testing.T) {
	w := newWorld(t)
	w.choose = "write"
	c := w.newClient()
	for path := range strings.FieldsSeq("/mcp/readonly /mcp/x/issues/readonly/") {
		query := c.authorizeQuery("resource", w.url+path, "scope", "forgejo:read forgejo:write")
		page := w.get(w.url + "/oauth/authorize?" + query.Encode())
		if !strings.Contains(page.body, "It asks to read only.") || strings.Contains(page.body, `value="write"`) {
			t.Errorf("%s: the page offers writing:\n%s", path, page.body)
		}
		b := newBrowser()
		form := w.consentForm(b, query)
		form.Set("access", "write") // whatever the form had
		back := w.do(b, w.request(http.MethodGet, w.throughForge(w.decide(b, form, "allow").location(t).String()), "")).location(t)
		token, refresh := w.tokens(c, back.Query().Get("code"))
		access, err := w.accessAt(path, token)
		if err != nil || !model.ReadOnly(access.Scope) || !model.ReadOnly(access.Requested) || access.Narrowed {
			t.Errorf("%s: %+v, %v", path, access, err)
		}
		if a := w.post("/oauth/token", c.refreshForm(refresh, "scope", "forgejo:read forgejo:write")); a.StatusCode != http.StatusOK || a.json(t)["scope"] != "forgejo:read" {
			t.Errorf("%s: a refresh: %d %s", path, a.StatusCode, a.body)
		}
	}
}
