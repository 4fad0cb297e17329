package authserver_test

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// later moves both clocks.
func (w *world) later(d time.Duration) {
	w.advance(d)
	w.forge.Advance(d)
}

func (w *world) alice() string {
	w.t.Helper()
	u, err := w.store.UpsertUser(w.t.Context(), w.forge.URL, "1", "alice")
	w.must(err)
	return u.ID
}

// forgeToken is alice's token for the forge, tried there.
func (w *world) forgeToken() {
	w.t.Helper()
	set, err := w.upstream.Token(w.t.Context(), w.alice())
	w.must(err)
	if a := w.get(w.forge.URL+"/api/v1/user", "Authorization", "Bearer "+set.AccessToken); a.StatusCode != 200 || a.json(w.t)["login"] != "alice" {
		w.t.Errorf("the forge answers %d %s", a.StatusCode, a.body)
	}
}

func (w *world) mustRefresh(c client, token string) (access, refresh string) {
	w.t.Helper()
	a := w.post("/oauth/token", c.refreshForm(token))
	if a.StatusCode != 200 {
		w.t.Fatalf("refresh: %d %s", a.StatusCode, a.body)
	}
	return a.json(w.t)["access_token"].(string), a.json(w.t)["refresh_token"].(string)
}

// link finds the target of a page's button.
func (a answer) link(t *testing.T, label string) string {
	t.Helper()
	found := regexp.MustCompile(`href="([^"]*)"[^>]*>\s*` + regexp.QuoteMeta(label)).FindStringSubmatch(a.body)
	if found == nil {
		t.Fatalf("no button %q on the page: %d %s", label, a.StatusCode, a.body)
	}
	return html.UnescapeString(found[1])
}

func TestEveryForgeWalksTheWholeFlow(t *testing.T) {
	for _, profile := range fakeforge.Profiles {
		t.Run(profile.Name, func(t *testing.T) {
			w := newWorldOn(t, "", fakeforge.Config{Profile: profile})
			first, second := w.newClient(), w.newClient()
			_, refresh := w.tokens(first, w.logIn(first))
			w.forgeToken()
			w.later(58 * time.Minute)
			w.forgeToken() // renewed
			access2, _ := w.tokens(second, w.logIn(second))
			w.later(70 * time.Minute)
			w.forgeToken() // the second login's set serves both
			w.must(w.bearer(access2))
			access, refresh := w.mustRefresh(first, refresh)
			w.must(w.bearer(access))
			if got := w.forge.Stats(); got.Exchanges != 2 || got.Refused != 0 {
				t.Errorf("%d codes redeemed and %d requests refused, want 2 and 0", got.Exchanges, got.Refused)
			}

			_, err := w.forge.RevokeGrants("alice")
			w.must(err)
			w.later(58 * time.Minute)
			if _, err := w.upstream.Token(t.Context(), w.alice()); !errors.Is(err, model.ErrForgejoGrantDead) {
				t.Errorf("after revocation at the forge: %v", err)
			}
			if err := w.bearer(access); !errors.Is(err, model.ErrForgejoGrantDead) {
				t.Errorf("the bearer check says %v", err)
			}
			w.post("/oauth/token", first.refreshForm(refresh)).wantError(t, 400, "invalid_grant", "log in again")
			if !strings.Contains(w.trail.String(), "forgejo_refresh_failed") {
				t.Error("the dead login is not audited")
			}
			w.logIn(second)
			w.forgeToken()
			w.mustRefresh(first, refresh) // its family was not touched
		})
	}
}

func TestForgeDownForAnHour(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	w.must(w.forge.Inject(fakeforge.Fault{Kind: "status", Status: 502}))
	for range 8 {
		w.later(10 * time.Minute)
		access, refresh = w.mustRefresh(c, refresh)
		w.must(w.bearer(access))
	}
	if _, err := w.upstream.Token(t.Context(), w.alice()); !errors.Is(err, model.ErrForgejoDown) {
		t.Errorf("while it is down: %v", err)
	}
	w.forge.ClearFaults()
	w.later(time.Minute)
	w.forgeToken()
	w.must(w.bearer(access))
	w.mustRefresh(c, refresh)
	if got := w.forge.Stats().Exchanges; got != 1 {
		t.Errorf("%d logins were needed", got)
	}
}

// When Forgejo fails right after it issued a token set, the user goes on with
// that set, and the user's other clients do too.
func TestLoginGoesOnAfterTheForgeFailed(t *testing.T) {
	for _, path := range []string{fakeforge.UserinfoPath, fakeforge.IntrospectPath} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t)
			other := w.newClient()
			w.logIn(other)
			c, b := w.newClient(), newBrowser()
			callback := w.atForge(b, c.authorizeQuery())
			w.must(w.forge.Inject(fakeforge.Fault{Path: path, Kind: "status", Status: 502, Count: 1}))
			page := w.do(b, w.request(http.MethodGet, callback, ""))
			if page.StatusCode != 503 {
				t.Fatalf("%d %s", page.StatusCode, page.body)
			}
			again := page.link(t, "Try again")
			if a := w.do(newBrowser(), w.request(http.MethodGet, again, "")); a.StatusCode != 403 {
				t.Errorf("another browser can go on: %d", a.StatusCode)
			}
			back := w.do(b, w.request(http.MethodGet, again, "")).location(t)
			w.tokens(c, back.Query().Get("code"))
			if a := w.do(b, w.request(http.MethodGet, again, "")); a.StatusCode != 400 || !strings.Contains(a.body, "login is over") {
				t.Errorf("once more: %d", a.StatusCode)
			}
			if got := w.forge.Stats().Exchanges; got != 2 {
				t.Errorf("%d codes redeemed", got)
			}
		})
	}
}

func TestTokenSetOfACutOffLoginIsKept(t *testing.T) {
	for name, away := range map[string]time.Duration{"soon": 2 * time.Minute, "after its access token's end": 90 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.newClient()
			_, refresh := w.tokens(first, w.logIn(first))
			c, b := w.newClient(), newBrowser()
			callback := w.atForge(b, c.authorizeQuery())
			w.must(w.forge.Inject(fakeforge.Fault{Path: fakeforge.UserinfoPath, Kind: "status", Status: 502}))
			w.do(b, w.request(http.MethodGet, callback, "")) // this login has ended the first one's refresh token
			w.later(away)
			w.must(w.server.Tidy(t.Context())) // the forge is still down
			w.forge.ClearFaults()
			w.must(w.server.Tidy(t.Context()))
			w.later(58 * time.Minute)
			w.forgeToken()
			w.mustRefresh(first, refresh)
			if got := w.forge.Stats(); got.Exchanges != 2 || got.Refused != 0 {
				t.Errorf("%d codes redeemed, %d requests refused", got.Exchanges, got.Refused)
			}
		})
	}
}

// The operator asks for less than users have granted.
func TestNarrowedScopes(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	defaults := w.scopes
	narrow := func() {
		w.scopes = []string{"read:user", "write:issue"}
		w.restart()
		w.must(w.upstream.CheckScopes(t.Context()))
	}
	narrow()
	if log := w.trail.String(); !strings.Contains(log, "their grants open more") || !strings.Contains(log, "users=1") || !strings.Contains(log, "/user/settings/applications") {
		t.Errorf("the log does not tell: %s", log)
	}
	if err := w.bearer(access); !errors.Is(err, model.ErrForgejoGrantDead) {
		t.Errorf("the broader grant is used on: %v", err)
	}
	w.post("/oauth/token", c.refreshForm(refresh)).wantError(t, 400, "invalid_grant", "log in again")

	w.scopes = defaults // the former scopes: nothing was lost
	w.restart()
	w.must(w.upstream.CheckScopes(t.Context()))
	w.must(w.bearer(access))

	narrow()
	b := newBrowser()
	page := w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery()), ""))
	if page.StatusCode != 403 || page.link(t, "Open Forgejo") != w.forge.URL+"/user/settings/applications" {
		t.Errorf("%d %s", page.StatusCode, page.body)
	}
	if err := w.bearer(access); !errors.Is(err, model.ErrForgejoGrantDead) {
		t.Errorf("the broader grant is used after a login: %v", err)
	}
	_, err := w.forge.RevokeGrants("alice")
	w.must(err)
	again, err := url.Parse(page.link(t, "Try again"))
	w.must(err)
	back := w.do(b, w.request(http.MethodGet, w.atForge(b, again.Query()), "")).location(t)
	w.tokens(c, back.Query().Get("code"))
	w.mustRefresh(c, refresh) // any login revives
}

// The operator asks for more than users have granted.
func TestWidenedScopes(t *testing.T) {
	w := newWorld(t)
	w.scopes = []string{"read:user"}
	w.restart()
	c := w.newClient()
	access, _ := w.tokens(c, w.logIn(c))
	w.scopes = nil
	w.restart()
	w.must(w.upstream.CheckScopes(t.Context()))
	if log := w.trail.String(); !strings.Contains(log, "their grants open less") || !strings.Contains(log, "users=1") {
		t.Errorf("the log does not tell: %s", log)
	}
	w.must(w.bearer(access)) // goes on with less

	b := newBrowser()
	page := w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery()), ""))
	if page.StatusCode != 403 || page.link(t, "Open Forgejo") != w.forge.URL+"/user/settings/applications" {
		t.Errorf("%d %s", page.StatusCode, page.body)
	}
	back := w.do(b, w.request(http.MethodGet, page.link(t, "Continue with fewer permissions"), "")).location(t)
	w.tokens(c, back.Query().Get("code"))

	_, err := w.forge.RevokeGrants("alice")
	w.must(err)
	again, err := url.Parse(page.link(t, "Try again"))
	w.must(err)
	back = w.do(b, w.request(http.MethodGet, w.atForge(b, again.Query()), "")).location(t)
	w.tokens(c, back.Query().Get("code"))
	set, err := w.upstream.Token(t.Context(), w.alice())
	if err != nil || !strings.Contains(set.Scope, "write:repository") {
		t.Errorf("the new grant's scope is %q, %v", set.Scope, err)
	}
}

// Every error Forgejo may send back has a page that says what to do.
func TestForgejosCallbackErrors(t *testing.T) {
	w := newWorld(t)
	for code, want := range map[string]struct {
		status int
		text   string
		back   string
	}{
		"server_error":              {403, "Revoke this application in Forgejo", "access_denied"},
		"temporarily_unavailable":   {503, "Try again in a minute", "temporarily_unavailable"},
		"unauthorized_client":       {502, "Tell its operator", "server_error"},
		"invalid_scope":             {502, "Tell its operator", "server_error"},
		"unsupported_response_type": {502, "Tell its operator", "server_error"},
		"invalid_request":           {403, "Start again", "access_denied"},
		"<script>":                  {403, "Start again", "access_denied"},
	} {
		c, b := w.newClient(), newBrowser()
		to := w.decide(b, w.consentForm(b, c.authorizeQuery()), "allow").location(t)
		page := w.do(b, w.request(http.MethodGet, w.url+"/oauth/callback?"+url.Values{"state": {to.Query().Get("state")}, "error": {code}}.Encode(), ""))
		if page.StatusCode != want.status || !strings.Contains(html.UnescapeString(page.body), want.text) || strings.Contains(page.body, "<script") {
			t.Errorf("%s: %d %s", code, page.StatusCode, page.body)
		}
		if !strings.HasPrefix(page.link(t, "Try again"), w.url+"/oauth/authorize?") || !strings.Contains(page.link(t, "Back to"), "error="+want.back) {
			t.Errorf("%s: no way on or back", code)
		}
	}
}

// A set is never used before it is known to be within what is asked for.
func TestBroaderGrantIsNeverStored(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	w.logIn(c)
	_, err := w.forge.RevokeGrants("alice")
	w.must(err)
	_, err = loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(w.t.Context(), w.forge.URL+"/login/oauth/authorize?"+url.Values{
		"client_id": {w.forge.App.ClientID}, "redirect_uri": {w.url + "/oauth/callback"}, "response_type": {"code"}, "state": {"x"}, "scope": {"all"},
	}.Encode())
	w.must(err)
	b := newBrowser()
	if page := w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery()), "")); page.StatusCode != 403 {
		t.Errorf("%d %s", page.StatusCode, page.body)
	}
	set, err := w.store.ForgejoTokens(t.Context(), w.alice())
	if err != nil || !strings.HasPrefix(set.Scope, "write:") {
		t.Errorf("stored is a set with scope %q, %v", set.Scope, err)
	}
}

// Where the configured scopes only read, nothing more is offered, whatever a client asks
// for, and no client is sent back for more.
func TestScopesThatOnlyRead(t *testing.T) {
	w := newWorld(t)
	w.scopes = []string{"read:repository", "read:user"}
	w.restart()
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp"} {
		if got := fmt.Sprint(w.get(w.url + path).json(t)["scopes_supported"]); got != "[forgejo:read]" {
			t.Errorf("%s offers %s", path, got)
		}
	}
	if _, header, _ := w.server.Challenge(w.at("/mcp"), authserver.ErrNoToken); !strings.Contains(header, `scope="forgejo:read"`) {
		t.Errorf("the challenge is %s", header)
	}
	made := w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":["http://127.0.0.1/cb"],"scope":"forgejo:read forgejo:write"}`)).json(t)
	if made["scope"] != "forgejo:read" {
		t.Errorf("a registration offers %v", made["scope"])
	}
	c := w.newClient()
	query := c.authorizeQuery("scope", "forgejo:read forgejo:write")
	page := w.get(w.url + "/oauth/authorize?" + query.Encode())
	if strings.Contains(page.body, `name="access"`) || !strings.Contains(page.body, "It can read only.") {
		t.Errorf("the page offers a choice: %s", page.body)
	}
	b := newBrowser()
	back := w.do(b, w.request(http.MethodGet, w.atForge(b, query), "")).location(t) // with access=write
	a := w.post("/oauth/token", c.tokenForm(back.Query().Get("code")))
	if v := a.json(t); a.StatusCode != 200 || v["scope"] != "forgejo:read" {
		t.Errorf("granted: %d %s", a.StatusCode, a.body)
	}
	if access := w.latest.Load(); access == nil || model.ReadOnly(access.Requested) {
		t.Errorf("a client that may not write is to come back for more: %+v", access)
	}
}
