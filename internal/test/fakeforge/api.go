package fakeforge

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
)

// call is one API request after authentication.
type call struct {
	f    *Forge
	w    http.ResponseWriter
	r    *http.Request
	user *user // nil when anonymous
	base string
}

// authorization returns the token of "token X" or "Bearer X", in any case, and
// "" for a header without one, which forgejo-mcp sends when it has no token.
func authorization(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "token") || strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// api registers an API route. scopes are the categories a token needs;
// anonymous says whether it may be used without one.
func (f *Forge) api(pattern string, anonymous bool, scopes []string, run func(*call)) {
	method, path, _ := strings.Cut(pattern, " ")
	f.handle(method+" /api/v1"+path, func(w http.ResponseWriter, r *http.Request) {
		c := &call{f: f, w: w, r: r, base: f.base(r)}
		if c.admit(anonymous, scopes) {
			run(c)
		}
	})
}

// admit authenticates and checks the scope, and answers when it refuses.
func (c *call) admit(anonymous bool, scopes []string) bool {
	token, scope := authorization(c.r), ""
	if name, password, ok := c.r.BasicAuth(); ok {
		if c.user = c.f.userByName(name); c.user == nil || c.user.password != password {
			return c.fail(http.StatusUnauthorized, "user does not exist")
		}
	} else if token != "" {
		var known bool
		if c.user, scope, known = c.f.bearer(token); !known {
			return c.fail(http.StatusUnauthorized, "invalid username, password or token")
		}
	}
	switch {
	case c.user != nil && c.user.suspended:
		return c.fail(http.StatusForbidden, "This account is prohibited from signing in, please contact your site administrator.")
	case c.user == nil && c.f.cfg.RequireSignIn:
		return c.fail(http.StatusForbidden, "Only signed in user is allowed to call APIs.")
	case c.user == nil && !anonymous:
		return c.fail(http.StatusUnauthorized, "token is required")
	}
	level := "write"
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		level = "read"
	}
	for _, category := range scopes {
		if token != "" && !scopeAllows(scope, level, category) {
			return c.fail(http.StatusForbidden, "token does not have at least one of required scope(s), required=["+level+":"+category+"], token scope="+scope)
		}
	}
	return true
}

// fail answers with an error and returns false.
func (c *call) fail(status int, message string) bool {
	reply(c.w, status, map[string]string{"message": message, "url": c.base + "/api/swagger"})
	return false
}

func (c *call) notFound() { c.fail(http.StatusNotFound, "The target couldn't be found.") }

func (c *call) ok(v any) { reply(c.w, http.StatusOK, v) }

// list answers with one page of items and the headers that tell of the rest.
func list[T any](c *call, items []T) []T {
	page := max(1, number(c.r.FormValue("page")))
	limit := number(cmp.Or(c.r.FormValue("limit"), c.r.FormValue("per_page")))
	if limit <= 0 || limit > 50 {
		limit = 50
	}
	c.w.Header().Set("X-Total-Count", strconv.Itoa(len(items)))
	c.w.Header().Set("Access-Control-Expose-Headers", "X-Total-Count")
	from := min(len(items), (page-1)*limit)
	return append([]T{}, items[from:min(len(items), from+limit)]...)
}

// number reads a decimal number up to a billion; anything else is 0.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1e9 {
		return 0
	}
	return n
}

func (c *call) pathID(name string) int64 { return int64(number(c.r.PathValue(name))) }

var (
	none         []string
	repository   = []string{"repository"}
	issues       = []string{"issue"}
	users        = []string{"user"}
	userRepos    = []string{"user", "repository"}
	notification = []string{"notification"}
	userOrgs     = []string{"user", "organization"}
)

func (f *Forge) routeAPI() {
	f.api("GET /version", true, none, func(c *call) { c.ok(map[string]string{"version": f.cfg.Profile.Version}) })
	f.api("GET /settings/api", true, none, func(c *call) {
		c.ok(map[string]any{"max_response_items": 50, "default_paging_num": 30, "default_git_trees_per_page": 1000, "default_max_blob_size": 10485760})
	})
	f.api("GET /user", false, users, func(c *call) { c.ok(c.userJSON(c.user)) })
	f.api("GET /users/search", true, users, (*call).searchUsers)
	f.api("GET /users/{name}", true, users, func(c *call) {
		if u := f.userByName(c.r.PathValue("name")); u != nil {
			c.ok(c.userJSON(u))
			return
		}
		c.notFound()
	})
	f.api("GET /user/orgs", false, userOrgs, func(c *call) { c.ok(list(c, []any{})) })
	f.routeApplications()
	f.routeRepos()
	f.routeIssues()
	f.routeAssets()
	f.routeNotifications()
}

func (c *call) userJSON(u *user) map[string]any {
	return map[string]any{
		"id": u.id, "login": u.name, "login_name": "", "full_name": "", "email": u.email(), "username": u.name,
		"avatar_url": c.base + "/avatars/" + u.name, "html_url": c.base + "/" + u.name, "language": "", "is_admin": false,
		"last_login": seedTime, "created": seedTime, "restricted": false, "active": true, "prohibit_login": u.suspended,
		"location": "", "website": "", "description": "", "visibility": "public",
	}
}

func (c *call) searchUsers() {
	q := strings.ToLower(c.r.FormValue("q"))
	found := []any{}
	for _, u := range c.f.users {
		if strings.Contains(strings.ToLower(u.name), q) {
			found = append(found, c.userJSON(u))
		}
	}
	c.ok(map[string]any{"ok": true, "data": list(c, found)})
}

// routeApplications lets a script register the OAuth application as an operator
// would through the API.
func (f *Forge) routeApplications() {
	f.api("POST /user/applications/oauth2", false, users, func(c *call) {
		var in appOption
		if !c.body(&in) {
			return
		}
		app := &App{
			id: f.nextID(), Name: in.Name, RedirectURIs: in.RedirectURIs, Public: !in.Confidential,
			ClientID: random(), ClientSecret: "gto_" + random(),
		}
		f.apps = append(f.apps, app)
		reply(c.w, http.StatusCreated, app.json())
	})
	// As in Forgejo, every change makes a new secret.
	f.api("PATCH /user/applications/oauth2/{id}", false, users, func(c *call) {
		app := find(f.apps, func(a *App) bool { return a.id == c.pathID("id") })
		var in appOption
		switch {
		case app == nil:
			c.notFound()
		case c.body(&in):
			app.Name, app.RedirectURIs, app.Public, app.ClientSecret = in.Name, in.RedirectURIs, !in.Confidential, "gto_"+random()
			c.ok(app.json())
		}
	})
}

type appOption struct {
	Name         string   `json:"name"`
	RedirectURIs []string `json:"redirect_uris"`
	Confidential bool     `json:"confidential_client"`
}

func (a *App) json() map[string]any {
	return map[string]any{
		"id": a.id, "name": a.Name, "client_id": a.ClientID, "client_secret": a.ClientSecret,
		"confidential_client": !a.Public, "redirect_uris": a.RedirectURIs, "created": seedTime,
	}
}
