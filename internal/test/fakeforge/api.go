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
	if c.f.cfg.Profile == Gitea126 { // services/auth/oauth2.go, unless DISABLE_QUERY_AUTH_TOKEN is set
		token = cmp.Or(c.r.FormValue("token"), c.r.FormValue("access_token"), token)
	}
	if token != "" {
		var known bool
		if c.user, scope, known = c.f.bearer(token); !known {
			return c.fail(http.StatusUnauthorized, "invalid username, password or token")
		}
	}
	if name := cmp.Or(c.r.FormValue("sudo"), c.r.Header.Get("Sudo")); name != "" && c.user != nil {
		if c.user != c.f.users[0] && !c.user.administrator { // the first account administers the site
			return c.fail(http.StatusForbidden, "Only administrators allowed to sudo.")
		}
		if c.user = c.f.userByName(name); c.user == nil {
			return c.fail(http.StatusNotFound, "user redirect does not exist")
		}
	}
	switch {
	case c.user != nil && c.user.suspended:
		return c.fail(http.StatusForbidden, "This account is prohibited from signing in, please contact your site administrator.")
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

func (c *call) ok(v any) { reply(c.w, http.StatusOK, v) }

// list answers with one page of items and the headers that tell of the rest.
func (c *call) list(items []any) {
	page, _ := strconv.Atoi(c.r.FormValue("page"))
	limit, _ := strconv.Atoi(cmp.Or(c.r.FormValue("limit"), c.r.FormValue("per_page")))
	if limit <= 0 || limit > 50 {
		limit = 50
	}
	c.w.Header().Set("X-Total-Count", strconv.Itoa(len(items)))
	c.w.Header().Set("Access-Control-Expose-Headers", "X-Total-Count")
	page = min(max(1, page), len(items)+1)
	from := min(len(items), (page-1)*limit)
	c.ok(items[from:min(len(items), from+limit)])
}

func (f *Forge) routeAPI() {
	f.api("GET /version", true, nil, func(c *call) { c.ok(map[string]string{"version": f.cfg.Profile.Version}) })
	f.api("GET /user", false, []string{"user"}, func(c *call) { c.ok(c.userJSON(c.user)) })
	f.api("GET /user/repos", false, []string{"user", "repository"}, (*call).listRepos)
	f.routeApplications()
	f.routeOrganizations()
	f.handle("POST /{owner}/{repo}/info/lfs/objects/batch", f.lfsBatch)
	f.repoAPI("GET /issues", true, "issue", (*call).listIssues)
	f.repoAPI("POST /issues", false, "issue", (*call).createIssue)
}

func (c *call) userJSON(u *user) map[string]any {
	return map[string]any{
		"id": u.id, "login": u.name, "full_name": "", "email": u.email(), "username": u.name,
		"avatar_url": c.base + "/avatars/" + u.name, "html_url": c.base + "/" + u.name, "is_admin": u.administrator && (u == c.user || c.user != nil && c.user.administrator),
		"created": seedTime, "active": true, "prohibit_login": u.suspended, "visibility": "public",
	}
}
