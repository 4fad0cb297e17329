package fakeforge

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// grant is one user's consent to one application. Its first scope stays.
type grant struct {
	id      int64
	userID  int64
	appID   int64
	scope   string
	counter int64
}

type code struct {
	grant     *grant
	redirect  string
	challenge string // S256; empty without PKCE
	made      time.Time
}

func (f *Forge) routeOAuth() {
	f.handle("POST "+TokenPath, f.accessToken)
	f.handle("GET "+UserinfoPath, f.userinfo)
	f.handle("POST "+UserinfoPath, f.userinfo)
	f.handle("POST "+IntrospectPath, f.introspect)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// refuse answers as Forgejo does for every error of the token endpoint: 400.
func (f *Forge) refuse(w http.ResponseWriter, code, description string) {
	f.stats.Refused++
	reply(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}

func (f *Forge) accessToken(w http.ResponseWriter, r *http.Request) {
	app := f.app(r.PostForm.Get("client_id"))
	fits := app != nil && app.secretFits(r.PostForm.Get("client_secret"))
	switch grant := r.PostForm.Get("grant_type"); {
	case grant != "authorization_code" && grant != "refresh_token":
		f.refuse(w, "unsupported_grant_type", "Only refresh_token or authorization_code grant type is supported")
	case app == nil:
		f.refuse(w, "invalid_client", "cannot load client with client id")
	case grant == "refresh_token" && !fits:
		f.refuse(w, "invalid_client", "invalid client secret")
	case grant == "refresh_token":
		f.refresh(w, r, app)
	case !fits:
		f.refuse(w, "unauthorized_client", "invalid client secret")
	default:
		f.exchange(w, r, app)
	}
}

func (a *App) secretFits(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(secret), []byte(a.ClientSecret)) == 1
}

func (f *Forge) exchange(w http.ResponseWriter, r *http.Request, app *App) {
	redirect := r.PostForm.Get("redirect_uri")
	value := r.PostForm.Get("code")
	c := f.codes[value]
	switch {
	case redirect != "" && !app.hasRedirect(redirect):
		f.refuse(w, "unauthorized_client", "unexpected redirect URI")
	case c == nil:
		f.refuse(w, "unauthorized_client", "client is not authorized")
	case !c.verifies(r.PostForm.Get("code_verifier")):
		f.refuse(w, "unauthorized_client", "failed PKCE code challenge")
	case c.grant.appID != app.id:
		f.refuse(w, "invalid_grant", "invalid grant")
	case f.cfg.Profile.SameRedirect && redirect != c.redirect:
		f.refuse(w, "unauthorized_client", "unexpected redirect URI")
	case f.cfg.Profile.CodeLifetime > 0 && f.now().Sub(c.made) > f.cfg.Profile.CodeLifetime:
		f.refuse(w, "invalid_grant", "authorization code expired")
	default:
		delete(f.codes, value)
		f.stats.Exchanges++
		f.issue(w, c.grant)
	}
}

// verifies checks the PKCE verifier (RFC 7636 §4.6).
func (c *code) verifies(verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return c.challenge == "" || b64(sum[:]) == c.challenge
}

func (f *Forge) refresh(w http.ResponseWriter, r *http.Request, app *App) {
	claims, ok := f.parse(r.PostForm.Get("refresh_token"), refreshType)
	if !ok {
		f.refuse(w, "unauthorized_client", "unable to parse refresh token")
		return
	}
	g := f.grantByID(claims.Grant)
	switch {
	case g == nil || f.userByID(g.userID) == nil:
		f.refuse(w, "invalid_grant", "grant does not exist")
	case f.cfg.Profile.BindClient && g.appID != app.id:
		f.refuse(w, "invalid_grant", "refresh token belongs to another client")
	case f.cfg.Profile.RotateRefresh && claims.Counter != g.counter:
		f.refuse(w, "unauthorized_client", "token was already used")
	default:
		if !f.cfg.Profile.CompareAndSwap {
			f.letOthersIn()
		}
		f.stats.Refreshes++
		f.issue(w, g)
	}
}

// letOthersIn gives up the lock for a moment, between a check and its use.
func (f *Forge) letOthersIn() {
	f.mu.Unlock()
	defer f.mu.Lock()
	time.Sleep(time.Millisecond)
}

func (f *Forge) grantByID(id int64) *grant {
	return find(f.grants, func(g *grant) bool { return g.id == id })
}

// issue answers with a token set and, where refresh tokens rotate, kills every
// earlier refresh token of the grant.
func (f *Forge) issue(w http.ResponseWriter, g *grant) {
	if f.cfg.Profile.RotateRefresh {
		g.counter++
	}
	now := f.now()
	access := f.sign(tokenClaims{Grant: g.id, Type: accessType, Issued: now.Unix(), Expires: now.Add(f.cfg.AccessTTL).Unix()})
	refresh := f.sign(tokenClaims{Grant: g.id, Type: refreshType, Counter: g.counter, Issued: now.Unix(), Expires: now.Add(f.cfg.RefreshTTL).Unix()})
	f.issued = append(f.issued, access, refresh)
	w.Header().Set("Cache-Control", "no-store")
	reply(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "bearer",
		"expires_in": int64(f.cfg.AccessTTL / time.Second), "refresh_token": refresh,
	})
}

func (f *Forge) userinfo(w http.ResponseWriter, r *http.Request) {
	u, _, ok := f.bearer(authorization(r))
	switch {
	case !ok:
		w.Header().Set("WWW-Authenticate", `Bearer realm="Forgejo"`)
		http.Error(w, "no valid authorization", http.StatusUnauthorized)
	case u.suspended:
		page(w, http.StatusOK, "Sign in prohibited", "<p>Your account is prohibited from signing in, please contact your site administrator.</p>")
	default:
		reply(w, http.StatusOK, map[string]any{
			"sub": strconv.FormatInt(u.id, 10), "name": u.name, "preferred_username": u.name,
			"email": u.email(), "picture": f.base(r) + "/avatars/" + u.name, "groups": []string{},
		})
	}
}

func (u *user) email() string { return u.name + "@noreply.localhost" }

// bearer resolves an access token to its user and scope. A suspended user's
// token resolves.
func (f *Forge) bearer(token string) (*user, string, bool) {
	g := f.personal[token]
	if g == nil {
		claims, ok := f.parse(token, accessType)
		if g = f.grantByID(claims.Grant); g == nil || !ok {
			return nil, "", false
		}
	}
	u := f.userByID(g.userID)
	return u, g.scope, u != nil
}

func (f *Forge) introspect(w http.ResponseWriter, r *http.Request) {
	id, secret, ok := r.BasicAuth()
	app := f.app(id)
	if !ok || app == nil || !app.secretFits(secret) {
		w.Header().Set("WWW-Authenticate", `Basic realm="Forgejo OAuth2"`)
		http.Error(w, "no valid authorization", http.StatusUnauthorized)
		return
	}
	claims, ok := f.parse(r.PostForm.Get("token"), accessType)
	g := f.grantByID(claims.Grant)
	if !ok || g == nil || g.appID != app.id || f.userByID(g.userID) == nil {
		if f.cfg.Profile.IntrospectInactive {
			reply(w, http.StatusOK, map[string]any{"active": false})
			return
		}
		http.Error(w, "no valid authorization", http.StatusUnauthorized)
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"active": true, "scope": g.scope, "username": f.userByID(g.userID).name,
		"iss": f.base(r), "sub": strconv.FormatInt(g.userID, 10), "aud": []string{app.ClientID},
	})
}

// hasRedirect compares as Forgejo does: without case, one trailing slash ignored.
func (a *App) hasRedirect(uri string) bool {
	return slices.ContainsFunc(a.RedirectURIs, func(registered string) bool {
		return strings.EqualFold(strings.TrimSuffix(registered, "/"), strings.TrimSuffix(uri, "/"))
	})
}
