package authserver_test

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestTokenRefusals(t *testing.T) {
	w := newWorld(t)
	c, other := w.newClient(), w.newClient()
	code := w.logIn(c)
	for name, tt := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"wrong verifier":     {c.tokenForm(code, "code_verifier", strings.Repeat("a", 43)), 400, "invalid_grant"},
		"no verifier":        {c.tokenForm(code, "code_verifier", ""), 400, "invalid_grant"},
		"other redirect":     {c.tokenForm(code, "redirect_uri", "http://127.0.0.1:1/cb"), 400, "invalid_grant"},
		"other client":       {other.tokenForm(code, "code_verifier", c.verifier), 400, "invalid_grant"},
		"unknown client":     {c.tokenForm(code, "client_id", "nobody"), 401, "invalid_client"},
		"no client":          {c.tokenForm(code, "client_id", ""), 401, "invalid_client"},
		"secret of a public": {c.tokenForm(code, "client_secret", "guess"), 401, "invalid_client"},
		"unknown code":       {c.tokenForm("fjc_unknown"), 400, "invalid_grant"},
		"no code":            {c.tokenForm(""), 400, "invalid_grant"},
		"other resource":     {c.tokenForm(code, "resource", "https://other.example/mcp"), 400, "invalid_target"},
		"no grant type":      {c.tokenForm(code, "grant_type", ""), 400, "invalid_request"},
		"password":           {c.tokenForm(code, "grant_type", "password"), 400, "unsupported_grant_type"},
		"unknown refresh":    {c.refreshForm("fjr_unknown"), 400, "invalid_grant"},
		"too large":          {c.tokenForm(code, "x", strings.Repeat("x", 70000)), 400, "invalid_request"},
	} {
		if name == "no code" {
			tt.form.Del("code")
			tt.code = "invalid_request"
		}
		a := w.post("/oauth/token", tt.form)
		a.wantError(t, tt.status, tt.code, "")
		if a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached", name)
		}
	}
	if n := w.redeemed.Load(); n != 0 {
		t.Errorf("%d logins were reported", n)
	}
	w.tokens(c, code) // nothing of that consumed the code
}

func TestCodeExpires(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	code := w.logIn(c)
	w.advance(3 * time.Minute)
	w.post("/oauth/token", c.tokenForm(code)).wantError(t, 400, "invalid_grant", "expired")
}

func TestReplayedCodeRevokesTheFamily(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	code := w.logIn(c)
	access, refresh := w.tokens(c, code)
	w.post("/oauth/token", c.tokenForm(code, "code_verifier", strings.Repeat("a", 43))).wantError(t, 400, "invalid_grant", "code_verifier")
	w.must(w.bearer(access)) // who lacks the verifier cannot revoke
	w.post("/oauth/token", c.tokenForm(code)).wantError(t, 400, "invalid_grant", "already used")
	if err := w.bearer(access); err != model.ErrRevoked {
		t.Errorf("the access token: %v", err)
	}
	w.post("/oauth/token", c.refreshForm(refresh)).wantError(t, 400, "invalid_grant", "revoked")
	if !strings.Contains(w.trail.String(), "token_reused") || w.ended.Load() != 1 {
		t.Error("the reuse is not audited, or its sessions were not told")
	}
}

func TestRefresh(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	_, refresh := w.tokens(c, w.logIn(c))
	w.advance(time.Hour)
	first := w.post("/oauth/token", c.refreshForm(refresh, "scope", "forgejo:read forgejo:write openid", "resource", w.url+"/mcp")).json(t)
	if a := w.latest.Load(); w.redeemed.Load() != 1 || a.User.Name != "alice" || a.ClientID != c.id || a.GrantID == "" || a.Scope != "forgejo:read forgejo:write" {
		t.Errorf("%d logins were reported, the last as %+v", w.redeemed.Load(), a)
	}
	w.advance(time.Hour)
	again := w.post("/oauth/token", c.refreshForm(refresh)).json(t)
	if again["access_token"] != first["access_token"] || again["refresh_token"] != first["refresh_token"] || again["refresh_token"] == refresh {
		t.Error("a repeated refresh gave other tokens")
	}
	if left := again["expires_in"].(float64); first["expires_in"].(float64) != 14400 || left != 10800 {
		t.Errorf("expires_in is %v an hour later", left)
	}
	w.must(w.bearer(first["access_token"].(string)))
	w.advance(61 * time.Second)
	w.post("/oauth/token", c.refreshForm(refresh)).wantError(t, 400, "invalid_grant", "already used")
	w.post("/oauth/token", c.refreshForm(first["refresh_token"].(string))).wantError(t, 400, "invalid_grant", "revoked")
	for kind, generation := range map[string]string{"login": "", "token_issued": "FJMCP_GENERATION=1 ", "token_refreshed": "FJMCP_GENERATION=2 ", "token_reused": ""} {
		if !regexp.MustCompile("FJMCP_EVENT=" + kind + " .*FJMCP_GRANT=" + w.latest.Load().GrantID + " " + generation).MatchString(w.trail.String()) {
			t.Errorf("the audit trail has no %s of this login", kind)
		}
	}
}

// A refresh can give up writing (RFC 6749 §6): all tokens of the login read from then on,
// and no refresh brings writing back.
func TestRefreshStepsDown(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	if a := w.post("/oauth/token", c.refreshForm(refresh, "scope", "openid profile")); a.json(t)["scope"] != "forgejo:read forgejo:write" {
		t.Errorf("scopes that are none of ours: %s", a.body)
	}
	if a, err := w.access(access); err != nil || model.ReadOnly(a.Scope) || a.Narrowed { // and the cache has it
		t.Errorf("before: %+v, %v", a, err)
	}
	first := w.post("/oauth/token", c.refreshForm(refresh, "scope", "openid forgejo:read")).json(t)
	if first["scope"] != "forgejo:read" {
		t.Errorf("granted %v", first)
	}
	for what, token := range map[string]string{"the new": first["access_token"].(string), "the old": access} {
		if a, err := w.access(token); err != nil || !model.ReadOnly(a.Scope) || !model.ReadOnly(a.Requested) || !a.Narrowed {
			t.Errorf("%s access token: %+v, %v", what, a, err)
		}
	}
	next := first["refresh_token"].(string)
	for _, scope := range []string{"forgejo:read forgejo:write", "forgejo:write"} {
		w.post("/oauth/token", c.refreshForm(next, "scope", scope)).wantError(t, 400, "invalid_scope", "log in again")
		w.post("/oauth/token", c.refreshForm(refresh, "scope", scope)).wantError(t, 400, "invalid_scope", "log in again")
	}
	for range 2 { // the refused ones have used nothing up
		again := w.post("/oauth/token", c.refreshForm(next)).json(t)
		if again["scope"] != "forgejo:read" {
			t.Errorf("without a scope: %v", again)
		}
		w.must(w.bearer(again["access_token"].(string)))
	}
	w.advance(61 * time.Second) // what was used before is an attack whatever it asks for
	w.post("/oauth/token", c.refreshForm(refresh, "scope", "forgejo:write")).wantError(t, 400, "invalid_grant", "already used")
}

// Where the user gave less than the client asks for, a refresh that repeats that is no
// fault: it gets what there is.
func TestRefreshRepeatsWhatWasAskedFor(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	w.choose = "read"
	_, refresh := w.tokens(c, w.logIn(c))
	for _, scope := range []string{"forgejo:read forgejo:write", "forgejo:read", "forgejo:read forgejo:write"} {
		got := w.post("/oauth/token", c.refreshForm(refresh, "scope", scope)).json(t)
		if got["scope"] != "forgejo:read" {
			t.Errorf("%s: %v", scope, got)
		}
		refresh = got["refresh_token"].(string)
	}
}

func TestRefreshNeedsALivingForgejoLogin(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	a, err := w.store.Access(t.Context(), model.Hash(access))
	w.must(err)
	w.must(teststore.DropTokens(t.Context(), w.store, a.User.ID))
	w.post("/oauth/token", c.refreshForm(refresh)).wantError(t, 400, "invalid_grant", "log in again")
	w.logIn(w.newClient()) // another client's login revives it
	if got := w.post("/oauth/token", c.refreshForm(refresh)); got.StatusCode != 200 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestRefreshWorksWhileForgejoIsDown(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	_, refresh := w.tokens(c, w.logIn(c))
	w.must(w.forge.Inject(fakeforge.Fault{Kind: "status", Status: 500}))
	w.advance(3 * time.Hour)
	if got := w.post("/oauth/token", c.refreshForm(refresh)); got.StatusCode != 200 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestClientAuthentication(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"", "client_secret_basic", "client_secret_post"} {
		body := `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"` + method + `"}`
		got := w.register(body)
		c := client{id: got["client_id"].(string), redirectURI: "http://127.0.0.1/cb", verifier: strings.Repeat("v", 43)}
		secret := got["client_secret"].(string)
		code := w.logIn(c)
		basic := func(secret string) string {
			return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.id+":"+secret))
		}
		w.post("/oauth/token", c.tokenForm(code)).wantError(t, 401, "invalid_client", "secret")
		a := w.post("/oauth/token", c.tokenForm(code, "client_id", ""), "Authorization", basic("wrong"))
		a.wantError(t, 401, "invalid_client", "secret")
		if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic") {
			t.Error("no challenge for a Basic client")
		}
		a = w.post("/oauth/token", c.tokenForm(code, "client_id", ""), "Authorization", basic(secret))
		if a.StatusCode != 200 {
			t.Errorf("%q with Basic: %d %s", method, a.StatusCode, a.body)
		}
		refresh, _ := a.json(t)["refresh_token"].(string)
		if a := w.post("/oauth/token", c.refreshForm(refresh, "client_secret", secret)); a.StatusCode != 200 {
			t.Errorf("%q with post: %d %s", method, a.StatusCode, a.body)
		}
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	c, other := w.newClient(), w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	revoke := func(c client, token string) answer {
		return w.post("/oauth/revoke", url.Values{"client_id": {c.id}, "token": {token}})
	}
	if a := revoke(other, refresh); a.StatusCode != 200 || w.bearer(access) != nil {
		t.Error("another client could revoke, or learn that the token exists")
	}
	revoke(c, "").wantError(t, 400, "invalid_request", "token")
	if a := revoke(c, refresh); a.StatusCode != 200 || w.bearer(access) != model.ErrRevoked || w.ended.Load() != 1 {
		t.Errorf("%d, bearer %v", a.StatusCode, w.bearer(access))
	}
}

// TestConcurrentTokenRequests asserts that no answer is a 5xx and that there is
// one family. Two processes on one database are tested in package store.
func TestConcurrentTokenRequests(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	_, refresh := w.tokens(c, w.logIn(c))
	code := w.logIn(c)
	const n = 40
	run := func(form url.Values) (statuses map[int]int, tokens []string) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		statuses = map[int]int{}
		for range n {
			wg.Go(func() {
				a := w.post("/oauth/token", form)
				mu.Lock()
				defer mu.Unlock()
				statuses[a.StatusCode]++
				if a.StatusCode == 200 {
					tokens = append(tokens, a.json(t)["refresh_token"].(string))
				}
			})
		}
		wg.Wait()
		slices.Sort(tokens)
		return statuses, slices.Compact(tokens)
	}
	if statuses, tokens := run(c.refreshForm(refresh)); statuses[200] != n || len(tokens) != 1 {
		t.Errorf("refresh: %v, %d different successors", statuses, len(tokens))
	}
	if statuses, tokens := run(c.tokenForm(code)); statuses[200] != 1 || statuses[400] != n-1 || len(tokens) != 1 {
		t.Errorf("code: %v, %d families", statuses, len(tokens))
	}
}
