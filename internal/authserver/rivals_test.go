package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
)

// rival registers a client under a name of its own, with the redirect URI that all have.
func (w *world) rival(name string) client {
	w.t.Helper()
	got := w.register(`{"client_name":"` + name + `","redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"none"}`)
	return client{id: got["client_id"].(string), redirectURI: "http://127.0.0.1:9999/cb", verifier: forgejo.NewVerifier()}
}

// Two clients have one redirect URI, and each has what was the other's. None of it is of
// use, and none of the attempts ends what the other has.
func TestRivalsHaveNoUseOfEachOther(t *testing.T) {
	w := newWorld(t)
	victim, thief := w.rival("victim"), w.rival("thief")
	code := w.logIn(victim)
	attempts := map[string]url.Values{
		"the code":                            thief.tokenForm(code),
		"the code and its verifier":           thief.tokenForm(code, "code_verifier", victim.verifier),
		"the code, into the victim's login":   victim.tokenForm(w.logIn(thief)),
		"the code, with the thief's verifier": victim.tokenForm(code, "code_verifier", thief.verifier),
	}
	for name, form := range attempts {
		t.Run(name, func(t *testing.T) { w.post("/oauth/token", form).wantError(t, 400, "invalid_grant", "") })
	}
	access, refresh := w.tokens(victim, code)
	w.advance(time.Minute)
	next := w.post("/oauth/token", victim.refreshForm(refresh)).json(t)["refresh_token"].(string)
	w.advance(2 * time.Minute) // the first refresh token counts as used
	stolen := map[string]url.Values{
		"a used code":                  thief.tokenForm(code, "code_verifier", victim.verifier),
		"a used refresh token":         thief.refreshForm(refresh),
		"the refresh token":            thief.refreshForm(next),
		"an access token as a refresh": thief.refreshForm(access),
		"a refresh token as a code":    thief.tokenForm(next),
	}
	for name, form := range stolen {
		t.Run(name, func(t *testing.T) { w.post("/oauth/token", form).wantError(t, 400, "invalid_grant", "") })
	}
	for _, token := range []string{access, refresh, next} {
		if a := w.post("/oauth/revoke", url.Values{"client_id": {thief.id}, "token": {token}}); a.StatusCode != 200 || strings.TrimSpace(a.body) != "{}" {
			t.Errorf("revoke: %d %q", a.StatusCode, a.body)
		}
	}
	w.must(w.bearer(access))
	if a := w.post("/oauth/token", victim.refreshForm(next)); a.StatusCode != 200 {
		t.Errorf("the victim's refresh: %d %s", a.StatusCode, a.body)
	}
	if w.ended.Load() != 0 || strings.Contains(w.trail.String(), "token_reused") {
		t.Error("the victim's login was ended, or is told to be stolen")
	}
}

// While a thief tries the same refresh token, its owner gets his, all of one family.
func TestRefreshRaceOfRivals(t *testing.T) {
	w := newWorld(t)
	victim, thief := w.rival("victim"), w.rival("thief")
	_, refresh := w.tokens(victim, w.logIn(victim))
	var together sync.WaitGroup
	var mu sync.Mutex
	successors := map[any]bool{}
	for range 20 {
		together.Go(func() {
			a := w.post("/oauth/token", victim.refreshForm(refresh))
			mu.Lock()
			defer mu.Unlock()
			if a.StatusCode != 200 {
				t.Errorf("the owner: %d %s", a.StatusCode, a.body)
				return
			}
			successors[a.json(t)["refresh_token"]] = true
		})
		together.Go(func() { w.post("/oauth/token", thief.refreshForm(refresh)).wantError(t, 400, "invalid_grant", "") })
	}
	together.Wait()
	if len(successors) != 1 || w.ended.Load() != 0 {
		t.Errorf("%d successors, %d logins ended", len(successors), w.ended.Load())
	}
}

// What a user agreed to for one client is nothing for another: no hidden field of the page
// can be changed to what the other's page says.
func TestConsentIsForOneClient(t *testing.T) {
	w := newWorld(t)
	asked, other, b := w.rival("asked"), w.rival("other"), newBrowser()
	query := asked.authorizeQuery("scope", "forgejo:read", "resource", w.url+"/mcp")
	theirs := w.consentForm(b, other.authorizeQuery("scope", "forgejo:read forgejo:write", "resource", w.url+"/sse", "state", "theirs", "redirect_uri", "http://127.0.0.1:1234/cb"))
	changed := 0
	for field := range w.consentForm(b, query) {
		form := w.consentForm(b, query)
		if theirs.Get(field) == form.Get(field) {
			continue
		}
		form.Set(field, theirs.Get(field))
		changed++
		if a := w.decide(b, form, "allow"); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d %s", field, a.StatusCode, a.Header.Get("Location"))
		}
	}
	if changed < 6 {
		t.Errorf("only %d fields were tried", changed)
	}
}

// Two logins of one browser at once end each at the client that began it, in whatever
// order, and the forge's answer to one is no answer to the other (RFC 9207's mix-up, with
// one authorization server and two clients).
func TestLoginsOfOneBrowserDoNotMix(t *testing.T) {
	w := newWorld(t)
	first, second, b := w.rival("first"), w.rival("second"), newBrowser()
	walk := func(c client, state string) *url.URL {
		u, err := url.Parse(w.atForge(b, c.authorizeQuery("state", state)))
		w.must(err)
		return u
	}
	one, two := walk(first, "of first"), walk(second, "of second")
	for _, end := range []struct {
		at    *url.URL
		c     client
		state string
	}{{two, second, "of second"}, {one, first, "of first"}} {
		q := w.do(b, w.request(http.MethodGet, end.at.String(), "")).location(t).Query()
		if q.Get("state") != end.state || q.Get("iss") != w.url {
			t.Errorf("returned with %v, want the state %q", q, end.state)
		}
		w.tokens(end.c, q.Get("code"))
	}
	// The code of one login with the state of another: the forge wants the verifier of its own.
	one, two = walk(first, "x"), walk(second, "y")
	mixed := *one
	q := one.Query()
	q.Set("code", two.Query().Get("code"))
	mixed.RawQuery = q.Encode()
	a := w.do(b, w.request(http.MethodGet, mixed.String(), ""))
	if to, err := a.Location(); err == nil && to.Query().Get("code") != "" || a.StatusCode < 300 {
		t.Errorf("a mixed callback: %d %v", a.StatusCode, to)
	}
	// And a state that was never given out, or a client's own, begins nothing.
	for _, state := range []string{"", "y", one.Query().Get("code")} {
		q.Set("state", state)
		mixed.RawQuery = q.Encode()
		if a := w.do(b, w.request(http.MethodGet, mixed.String(), "")); a.StatusCode != http.StatusBadRequest {
			t.Errorf("state %q: %d", state, a.StatusCode)
		}
	}
}
