package authserver_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

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

// A client's secret, and the token of its registration, are told once and kept as
// hashes (RFC 6819 §4.1.1, §4.3.4).
func TestClientSecretsAreKeptAsHashes(t *testing.T) {
	w := newWorld(t)
	told := w.register(`{"redirect_uris":["https://client.example/cb"],"token_endpoint_auth_method":"client_secret_basic"}`)
	kept, err := w.store.Client(t.Context(), told["client_id"].(string))
	w.must(err)
	secret, token := told["client_secret"].(string), told["registration_access_token"].(string)
	if !model.EqualHash(secret, kept.SecretHash) || !model.EqualHash(token, kept.RegistrationHash) {
		t.Error("the hashes do not fit")
	}
	if all := fmt.Sprintf("%+v", kept); strings.Contains(all, secret) || strings.Contains(all, token) {
		t.Error("the client is kept with its secret")
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
		if _, err := w.server.Authenticate(r); !errors.Is(err, model.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
