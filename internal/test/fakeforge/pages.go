package fakeforge

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
)

// browser is what the session cookie stands for. It has room for one pending
// authorization; a second tab overwrites the first, and an abandoned PKCE
// challenge stays.
type browser struct {
	userID    int64 // 0 until logged in
	clientID  string
	redirect  string
	state     string
	challenge string
}

const sessionCookie = "fakeforge_session"

func (f *Forge) routePages() {
	f.handle("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		page(w, http.StatusOK, "fakeforge", `<p>A fake Forgejo for tests. <a href="/user/login">Sign in</a></p>`)
	})
	f.handle("GET /user/login", f.loginPage)
	f.handle("POST /user/login", f.login)
	f.handle("GET /user/settings/applications", f.applications)
	f.handle("GET /login/oauth/authorize", f.authorize)
	f.handle("POST /login/oauth/grant", f.consent)
}

func page(w http.ResponseWriter, status int, title, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%[1]s</title></head><body><h1>%[1]s</h1>\n%[2]s\n</body></html>\n", html.EscapeString(title), body)
}

// session returns the browser's session, nil if it has none.
func (f *Forge) session(r *http.Request) *browser {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	return f.browsers[c.Value]
}

// signedIn returns the browser's session and user, or sends it to the login
// page and returns nil.
func (f *Forge) signedIn(w http.ResponseWriter, r *http.Request) (*browser, *user) {
	if b := f.session(r); b != nil {
		if u := f.userByID(b.userID); u != nil {
			return b, u
		}
	}
	back := r.URL.RequestURI()
	if r.Method != http.MethodGet {
		back = "/"
	}
	http.Redirect(w, r, "/user/login?redirect_to="+url.QueryEscape(back), http.StatusSeeOther)
	return nil, nil
}

func hidden(name, value string) string {
	return fmt.Sprintf("<input type=\"hidden\" name=%q value=\"%s\">\n", name, html.EscapeString(value))
}

func (f *Forge) loginPage(w http.ResponseWriter, r *http.Request) {
	loginForm(w, http.StatusOK, r.Form.Get("redirect_to"), "")
}

func loginForm(w http.ResponseWriter, status int, back, message string) {
	page(w, status, "Sign in", message+`<form method="post" action="/user/login">
`+hidden("redirect_to", back)+`<p><label>Username <input name="user_name" autofocus required></label></p>
<p><label>Password <input name="password" type="password" required></label></p>
<p><button>Sign in</button></p></form>`)
}

func (f *Forge) login(w http.ResponseWriter, r *http.Request) {
	back := r.PostForm.Get("redirect_to")
	u := f.userByName(r.PostForm.Get("user_name"))
	if u == nil || u.password != r.PostForm.Get("password") {
		loginForm(w, http.StatusOK, back, "<p>Username or password is incorrect.</p>")
		return
	}
	if u.suspended {
		page(w, http.StatusOK, "Sign in prohibited", "<p>Your account is prohibited from signing in.</p>")
		return
	}
	id := random()
	f.browsers[id] = &browser{userID: u.id}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil})
	if !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.HasPrefix(back, `/\`) {
		back = "/"
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// authorize is RFC 6749 §4.1.1 with Forgejo's ways.
func (f *Forge) authorize(w http.ResponseWriter, r *http.Request) {
	b, u := f.signedIn(w, r)
	if u == nil {
		return
	}
	q := r.URL.Query()
	app, redirect := f.app(q.Get("client_id")), q.Get("redirect_uri")
	switch {
	case app == nil:
		page(w, http.StatusBadRequest, "Authorization failed", "<p>Client ID not registered.</p>")
		return
	case !app.hasRedirect(redirect):
		page(w, http.StatusBadRequest, "Authorization failed", "<p>Unregistered Redirect URI.</p>")
		return
	case u.suspended:
		page(w, http.StatusOK, "Sign in prohibited", "<p>Your account is prohibited from signing in.</p>")
		return
	}
	if code, description := authorizeFault(q); code != "" {
		redirectWith(w, r, redirect, url.Values{"error": {code}, "error_description": {description}, "state": {q.Get("state")}})
		return
	}
	if q.Get("code_challenge_method") != "" {
		b.challenge = q.Get("code_challenge")
	}
	if g := f.grantOf(u, app); g != nil {
		f.sendCode(w, r, g, &code{redirect: redirect, challenge: q.Get("code_challenge")}, q.Get("state"))
		return
	}
	b.clientID, b.redirect, b.state = app.ClientID, redirect, q.Get("state")
	consentForm(w, app, u, q)
}

func authorizeFault(q url.Values) (code, description string) {
	switch method := q.Get("code_challenge_method"); {
	case q.Get("response_type") != "code":
		return "unsupported_response_type", "Only code response type is supported."
	case method != "" && method != "S256":
		return "invalid_request", "unsupported code challenge method"
	}
	return "", ""
}

func consentForm(w http.ResponseWriter, app *App, u *user, q url.Values) {
	scope := q.Get("scope")
	asks := "full access to your account"
	if scope != "" {
		asks = "the scopes <code>" + html.EscapeString(scope) + "</code>"
	}
	page(w, http.StatusOK, "Authorize "+app.Name, fmt.Sprintf(`<p>Signed in as <b>%s</b>. <b>%s</b> asks for %s, and will send you to %s.</p>
<form method="post" action="/login/oauth/grant">
%s<p><button name="granted" value="true">Authorize Application</button> <button name="granted" value="false">Cancel</button></p></form>`,
		html.EscapeString(u.name), html.EscapeString(app.Name), asks, html.EscapeString(q.Get("redirect_uri")),
		hidden("client_id", app.ClientID)+hidden("redirect_uri", q.Get("redirect_uri"))+hidden("state", q.Get("state"))+hidden("scope", scope)))
}

// consent takes the answer of the consent page, for the one authorization that
// is pending in this browser.
func (f *Forge) consent(w http.ResponseWriter, r *http.Request) {
	b, u := f.signedIn(w, r)
	if u == nil {
		return
	}
	form := r.PostForm
	app := f.app(form.Get("client_id"))
	if app == nil || b.clientID != app.ClientID || b.redirect != form.Get("redirect_uri") || b.state != form.Get("state") {
		page(w, http.StatusBadRequest, "Bad request", "<p>This is not the pending authorization.</p>")
		return
	}
	state := form.Get("state")
	if form.Get("granted") != "true" {
		redirectWith(w, r, b.redirect, url.Values{"error": {"access_denied"}, "error_description": {"the request is denied"}, "state": {state}})
		return
	}
	g := f.grantOf(u, app)
	if g == nil {
		g = &grant{id: f.nextID(), userID: u.id, appID: app.id, scope: form.Get("scope"), counter: 1}
		f.grants = append(f.grants, g)
	}
	c := &code{redirect: b.redirect}
	if f.cfg.Profile.ConsentPKCE {
		c.challenge = b.challenge
	}
	f.sendCode(w, r, g, c, state)
}

func (f *Forge) grantOf(u *user, app *App) *grant {
	return find(f.grants, func(g *grant) bool { return g.userID == u.id && g.appID == app.id })
}

func (f *Forge) sendCode(w http.ResponseWriter, r *http.Request, g *grant, c *code, state string) {
	c.grant, c.made = g, f.now()
	value := "gta_" + random()
	f.codes[value] = c
	redirectWith(w, r, c.redirect, url.Values{"code": {value}, "state": {state}})
}

func redirectWith(w http.ResponseWriter, r *http.Request, to string, add url.Values) {
	u, err := url.Parse(to)
	if err != nil {
		page(w, http.StatusBadRequest, "Bad request", "")
		return
	}
	q := u.Query()
	for name := range add {
		q.Set(name, add.Get(name))
	}
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

// applications lists what the user has authorized.
func (f *Forge) applications(w http.ResponseWriter, r *http.Request) {
	_, u := f.signedIn(w, r)
	if u == nil {
		return
	}
	var rows strings.Builder
	for _, g := range f.grants {
		if app := find(f.apps, func(a *App) bool { return a.id == g.appID }); app != nil && g.userID == u.id {
			fmt.Fprintf(&rows, "<p><b>%s</b> <code>%s</code></p>\n", html.EscapeString(app.Name), html.EscapeString(g.scope))
		}
	}
	page(w, http.StatusOK, "Authorized OAuth2 applications", rows.String())
}
