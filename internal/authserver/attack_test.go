package authserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// No redirect repeats a form elsewhere, is kept, or tells the next site where the
// browser comes from (RFC 9700 §4.2, §4.12).
func TestRedirectsGiveNothingAway(t *testing.T) {
	w := newWorld(t)
	c, b := w.newClient(), newBrowser()
	toForge := w.decide(b, w.consentForm(b, c.authorizeQuery()), "allow")
	toClient := w.do(b, w.request(http.MethodGet, w.atForge(b, c.authorizeQuery()), ""))
	for name, a := range map[string]answer{"to the forge": toForge, "to the client": toClient} {
		if h := a.Header; a.StatusCode != http.StatusSeeOther || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", name, a.StatusCode, h)
		}
	}
	if q := toClient.location(t).Query(); q.Get("code") == "" || q.Has("access_token") || toClient.location(t).Fragment != "" {
		t.Errorf("the client gets %s", toClient.location(t))
	}
}

// What stands in the URL of a token request does not count, since URLs are
// logged (RFC 6749 §2.3.1, §3.2).
func TestTokenRequestsComeInTheBody(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	form := c.tokenForm(w.logIn(c))
	w.post("/oauth/token?"+form.Encode(), nil).wantError(t, 401, "invalid_client", "")
	if a := w.do(newBrowser(), w.request(http.MethodGet, w.url+"/oauth/token?"+form.Encode(), "")); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", a.StatusCode)
	}
	if a := w.post("/oauth/token", form); a.StatusCode != 200 {
		t.Errorf("the code was used up: %d %s", a.StatusCode, a.body)
	}
}

// A client's secret is told once and stands nowhere, before a login and after it but as a
// hash (RFC 6819 §4.1.1, §4.3.4).
func TestClientSecretsAreKeptAsHashes(t *testing.T) {
	w := newWorld(t)
	told := w.register(`{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"client_secret_post"}`)
	c := client{id: told["client_id"].(string), redirectURI: "http://127.0.0.1/cb", verifier: strings.Repeat("v", 43)}
	secret := told["client_secret"].(string)
	if a := w.post("/oauth/token", c.tokenForm(w.logIn(c), "client_secret", secret)); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	files, err := filepath.Glob(w.path + "*")
	w.must(err)
	found := false
	for _, name := range files {
		b, err := os.ReadFile(name)
		w.must(err)
		if bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte(secret[len("fjs_"):])) {
			t.Errorf("%s holds the secret", name)
		}
		found = found || bytes.Contains(b, model.Hash(secret))
	}
	if !found {
		t.Error("its hash stands nowhere, so this test shows nothing")
	}
	if strings.Contains(w.trail.String(), secret) {
		t.Error("the log holds the secret")
	}
}

// Whatever strangers register stands in no row, and locks nobody out: neither the honest
// client from elsewhere, nor the one from their own network once they pause.
func TestStrangersRegistrations(t *testing.T) {
	w := newWorld(t)
	register := func(from string, n int) answer {
		body := fmt.Sprintf(`{"client_name":"stranger %d","redirect_uris":["http://127.0.0.1/%d"],"token_endpoint_auth_method":"none"}`, n, n)
		return serve(t, w.mux.Load(), w.request(http.MethodPost, w.url+"/oauth/register", body, "X-Forwarded-For", from))
	}
	for i := range 5200 { // more than the table had room for
		if a := register(fmt.Sprintf("2a00:%x:%x::1", i>>8, i&0xff), i); a.StatusCode != http.StatusCreated {
			t.Fatalf("registration %d: %d %s", i, a.StatusCode, a.body)
		}
	}
	passed := 0
	for i := range 4000 { // now from one network
		if register(fmt.Sprintf("2a01:0:0:%x::1", i), i).StatusCode == http.StatusCreated {
			passed++
		}
	}
	if most := 8 * ratelimit.Register.Address.Burst; passed != most {
		t.Errorf("one network registered %d clients, not %d", passed, most)
	}
	if all, err := w.store.Clients(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d rows, %v", len(all), err)
	}
	a := register("2a01:0:0:ffff::1", 1)
	a.wantError(t, http.StatusTooManyRequests, "temporarily_unavailable", "")
	wait, err := time.ParseDuration(a.Header.Get("Retry-After") + "s")
	w.must(err)
	w.advance(wait)
	if a := register("2a01:0:0:ffff::1", 1); a.StatusCode != http.StatusCreated {
		t.Errorf("a neighbour after %s: %d %s", wait, a.StatusCode, a.body)
	}
	c := w.newClient()
	w.tokens(c, w.logIn(c))
	if all, err := w.store.Clients(t.Context()); err != nil || len(all) != 1 || all[0].ID != c.id {
		t.Errorf("rows after one login: %+v, %v", all, err)
	}
}

// Only the broker's own access tokens open the endpoint: no token of Forgejo's,
// which would pass through, and none of another kind.
func TestOtherTokensOpenNothing(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	good, err := w.store.Access(t.Context(), model.Hash(access))
	w.must(err)
	set, err := w.store.ForgejoTokens(t.Context(), good.User.ID)
	w.must(err)
	for name, token := range map[string]string{"forgejo's": set.AccessToken, "forgejo's refresh token": set.RefreshToken, "a refresh token": refresh, "a client id": c.id} {
		r := w.request(http.MethodPost, w.url+"/mcp", "", "Authorization", "Bearer "+token)
		if _, err := w.server.Authenticate(r, w.at("/mcp")); !errors.Is(err, model.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
