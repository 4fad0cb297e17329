package authserver_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

func TestCodeFlow(t *testing.T) {
	for prefix, endpoint := range map[string]string{"": "/mcp", "/fjmcp": "/sse"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			w := newWorldAt(t, prefix)
			c, b := w.newClient(), newBrowser()
			query := c.authorizeQuery("resource", w.url+endpoint+"/", "scope", "openid offline_access")
			back := w.do(b, w.request(http.MethodGet, w.atForge(b, query), "")).location(t)
			if !strings.HasPrefix(back.String(), c.redirectURI+"?") {
				t.Fatalf("sent to %s", back)
			}
			if q := back.Query(); q.Get("state") != "client state &=" || q.Get("iss") != w.url {
				t.Errorf("returned with %v", q)
			}
			a := w.post("/oauth/token", c.tokenForm(back.Query().Get("code"), "resource", w.url+endpoint))
			v := a.json(t)
			if a.StatusCode != 200 || v["token_type"] != "Bearer" || v["expires_in"].(float64) != 14400 || v["scope"] != "forgejo:read forgejo:write" {
				t.Errorf("%d %v", a.StatusCode, v)
			}
			if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("headers %v", a.Header)
			}
			access, err := w.access(v["access_token"].(string))
			if err != nil || access.User.Name != "alice" || access.Client != "Test <Client>" || access.User.Forge != w.forge.URL {
				t.Errorf("%+v, %v", access, err)
			}
			set, err := w.store.ForgejoTokens(t.Context(), access.User.ID)
			if err != nil || set.AccessToken == "" || !strings.Contains(set.Scope, "write:repository") {
				t.Errorf("forgejo scope %q, %v", set.Scope, err)
			}
			for _, event := range []string{"client_registered", "FJMCP_EVENT=login ", "token_issued"} {
				if !strings.Contains(w.trail.String(), event) {
					t.Errorf("the audit trail lacks %s", event)
				}
			}
			if strings.Contains(w.trail.String(), set.AccessToken) || strings.Contains(w.trail.String(), v["refresh_token"].(string)) {
				t.Error("the audit trail holds a token")
			}
		})
	}
}

func TestConsentPage(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	page := w.get(w.url + "/oauth/authorize?" + c.authorizeQuery().Encode())
	for _, want := range []string{"Test &lt;Client&gt;", "127.0.0.1:9999", "your own computer", strings.TrimPrefix(w.forge.URL, "http://"), `action="` + w.url + `/oauth/authorize"`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if page.Header.Get("X-Frame-Options") != "DENY" || strings.Contains(page.body, "<script") {
		t.Error("the page can be framed, or has a script")
	}
	if len(page.Cookies()) != 1 || !page.Cookies()[0].HttpOnly || page.Cookies()[0].SameSite != http.SameSiteLaxMode {
		t.Errorf("cookies %v", page.Cookies())
	}
}

func TestCookieOverHTTPS(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	public, _ := url.Parse("https://mcp.example")
	mux := http.NewServeMux()
	w.newServer(public, w.store).Routes(mux)
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://attacker.example/oauth/authorize?"+c.authorizeQuery().Encode(), nil))
	cookies := rec.Result().Cookies()
	if len(cookies) != 1 || cookies[0].Name != "__Host-fjmcp-browser" || !cookies[0].Secure || cookies[0].Path != "/" || cookies[0].Domain != "" {
		t.Errorf("cookies %v", cookies)
	}
	if strings.Contains(rec.Body.String(), "attacker.example") || !strings.Contains(rec.Body.String(), "https://mcp.example/oauth/authorize") {
		t.Error("a URL was made from Host")
	}
}

func TestEveryLoginAsks(t *testing.T) {
	w := newWorld(t)
	c, b := w.newClient(), newBrowser()
	for range 2 {
		w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery()), "")) // atForge fails without a consent page
	}
}

func TestConsentIsBoundToTheBrowserAndTheRequest(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	b := newBrowser()
	tests := map[string]func() answer{
		"another browser": func() answer { return w.decide(newBrowser(), w.consentForm(b, c.authorizeQuery()), "allow") },
		"another browser's cookie": func() answer {
			other := newBrowser()
			w.consentForm(other, c.authorizeQuery())
			return w.decide(other, w.consentForm(b, c.authorizeQuery()), "allow")
		},
		"a changed parameter": func() answer {
			form := w.consentForm(b, c.authorizeQuery())
			form.Set("redirect_uri", "http://127.0.0.1:6666/cb")
			return w.decide(b, form, "allow")
		},
		"no form token": func() answer {
			form := w.consentForm(b, c.authorizeQuery())
			form.Del("form_token")
			return w.decide(b, form, "allow")
		},
	}
	for name, try := range tests {
		if a := try(); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "Show the question again") {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	if a := w.decide(b, w.consentForm(b, c.authorizeQuery()), "allow"); !strings.HasPrefix(a.location(t).String(), w.forge.URL) {
		t.Errorf("the good form leads to %s", a.location(t))
	}
}

func TestCallbackInAnotherBrowserIsRefused(t *testing.T) {
	w := newWorld(t)
	c, b := w.newClient(), newBrowser()
	callback := w.atForge(b, c.authorizeQuery())
	other := newBrowser()
	w.consentForm(other, c.authorizeQuery()) // it has a cookie of its own
	for _, wrong := range []*http.Client{newBrowser(), other} {
		if a := w.do(wrong, w.request(http.MethodGet, callback, "")); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "another browser") {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
	if a := w.do(b, w.request(http.MethodGet, callback, "")); a.location(t).Query().Get("code") == "" {
		t.Error("the login was spoilt for its own browser")
	}
	if a := w.do(b, w.request(http.MethodGet, callback, "")); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "login is over") {
		t.Errorf("the callback again: %d %s", a.StatusCode, a.body)
	}
}

func TestLoginExpires(t *testing.T) {
	w := newWorld(t)
	c, b := w.newClient(), newBrowser()
	callback := w.atForge(b, c.authorizeQuery())
	w.advance(31 * time.Minute)
	a := w.do(b, w.request(http.MethodGet, callback, "", "Accept", "application/json"))
	a.wantError(t, http.StatusBadRequest, "invalid_request", "took too long")
}

func TestForgejosFaults(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(w *world)
		status  int
		text    string
		code    string // for the client
	}{
		{"down at the exchange", func(w *world) {
			w.must(w.forge.Inject(fakeforge.Fault{Path: fakeforge.TokenPath, Kind: "status", Status: 502}))
		}, 503, "cannot be reached", "temporarily_unavailable"},
		{"down at userinfo", func(w *world) {
			w.must(w.forge.Inject(fakeforge.Fault{Path: fakeforge.UserinfoPath, Kind: "drop"}))
		}, 503, "cannot be reached", "temporarily_unavailable"},
		{"suspended", func(w *world) { w.must(w.forge.Suspend("alice", true)) }, 403, "does not let this account sign in", "access_denied"},
		{"wrong secret", func(w *world) { _, err := w.forge.RotateSecret(w.forge.App.ClientID); w.must(err) }, 502, "not set up correctly", "server_error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c, b := w.newClient(), newBrowser()
			callback := w.atForge(b, c.authorizeQuery())
			tt.prepare(w)
			a := w.do(b, w.request(http.MethodGet, callback, ""))
			if a.StatusCode != tt.status || !strings.Contains(a.body, tt.text) || !strings.Contains(a.body, "Try again") {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			if !strings.Contains(a.body, "http://127.0.0.1:9999/cb?error="+tt.code) {
				t.Errorf("no way back to the client with %s:\n%s", tt.code, a.body)
			}
			if !strings.Contains(w.trail.String(), "login_failed") {
				t.Error("the failed login is not audited")
			}
			if strings.Contains(a.body, w.forge.App.ClientSecret) || strings.Contains(w.trail.String(), w.forge.App.ClientSecret) {
				t.Error("the client secret shows")
			}
		})
	}
}

func TestBroaderForgejoGrantIsRefused(t *testing.T) {
	w := newWorld(t)
	_, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(w.t.Context(), w.forge.URL+"/login/oauth/authorize?"+url.Values{
		"client_id": {w.forge.App.ClientID}, "redirect_uri": {w.url + "/oauth/callback"}, "response_type": {"code"}, "state": {"x"}, "scope": {"all"},
	}.Encode())
	w.must(err)
	c, b := w.newClient(), newBrowser()
	a := w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery()), ""))
	if a.StatusCode != 403 || !strings.Contains(a.body, w.forge.URL+"/user/settings/applications") || !strings.Contains(a.body, "Try again") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if _, err := w.forge.RevokeGrants("alice"); err != nil {
		t.Fatal(err)
	}
	w.tokens(c, w.logIn(c))
}

func TestAuthorizeRefusals(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	for name, tt := range map[string]struct {
		changes []string
		text    string
	}{
		"unknown client": {[]string{"client_id", "nobody"}, "does not know"},
		"no client":      {[]string{"client_id", ""}, "does not know"},
		"other redirect": {[]string{"redirect_uri", "https://evil.example/cb"}, "not one that the application registered"},
		"loopback path":  {[]string{"redirect_uri", "http://127.0.0.1:9999/other"}, "not one that the application registered"},
		"javascript":     {[]string{"redirect_uri", "javascript:alert(1)"}, "not one that the application registered"},
	} {
		target := w.url + "/oauth/authorize?" + c.authorizeQuery(tt.changes...).Encode()
		page := w.get(target, "Accept", "text/html")
		if page.StatusCode != 400 || !strings.Contains(page.body, tt.text) || !strings.Contains(page.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", name, page.StatusCode, page.body)
		}
		code := map[bool]string{true: "invalid_client", false: "invalid_request"}[strings.Contains(name, "client")]
		w.get(target, "Accept", "application/json").wantError(t, 400, code, tt.text)
	}
	twice := c.authorizeQuery()
	twice.Add("redirect_uri", "https://evil.example/")
	if a := w.get(w.url + "/oauth/authorize?" + twice.Encode()); a.StatusCode != 400 {
		t.Errorf("a repeated parameter: %d", a.StatusCode)
	}
}
