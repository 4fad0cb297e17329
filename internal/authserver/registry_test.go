package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

func TestReadAndDeleteRegistration(t *testing.T) {
	w := newWorldAt(t, "/p")
	for _, method := range []string{"none", "client_secret_basic"} {
		made := w.register(`{"client_name":"One","redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"` + method + `"}`)
		c := client{id: made["client_id"].(string), redirectURI: "http://127.0.0.1/cb", verifier: strings.Repeat("v", 43)}
		at, token := made["registration_client_uri"].(string), made["registration_access_token"].(string)
		if at != w.url+"/oauth/register/"+c.id || !strings.HasPrefix(token, "fjg_") {
			t.Fatalf("%v", made)
		}
		manage := func(method, auth string) answer {
			return w.do(newBrowser(), w.request(method, at, "{}", "Authorization", auth))
		}
		got := manage(http.MethodGet, "Bearer "+token)
		v := got.json(t)
		if got.StatusCode != 200 || v["client_id"] != c.id || v["client_name"] != "One" || v["registration_access_token"] != token || v["token_endpoint_auth_method"] != method || v["client_secret"] != nil {
			t.Errorf("%d %s", got.StatusCode, got.body)
		}
		other := w.register(`{"redirect_uris":["http://127.0.0.1/cb"]}`)["registration_access_token"].(string)
		for _, auth := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Bearer " + other, "Basic " + token, token} {
			a := manage(http.MethodDelete, auth)
			a.wantError(t, 401, "invalid_token", "")
			if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%q: no challenge", auth)
			}
		}
		for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodPost} {
			a := manage(method, "Bearer "+token)
			a.wantError(t, 405, "invalid_request", "register again")
			if a.Header.Get("Allow") != "GET, HEAD, DELETE" {
				t.Errorf("%s: Allow %q", method, a.Header.Get("Allow"))
			}
		}
		if a := manage(http.MethodDelete, "Bearer "+token); a.StatusCode != 204 || a.body != "" {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
		manage(http.MethodGet, "Bearer "+token).wantError(t, 401, "invalid_token", "")
		w.post("/oauth/token", c.tokenForm("fjc_x")).wantError(t, 401, "invalid_client", "register again")
	}
}

func TestDeletingARegistrationEndsItsLogins(t *testing.T) {
	w := newWorld(t)
	made := w.register(`{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"none"}`)
	c := client{id: made["client_id"].(string), redirectURI: "http://127.0.0.1/cb", verifier: strings.Repeat("v", 43)}
	access, _ := w.tokens(c, w.logIn(c))
	w.do(newBrowser(), w.request(http.MethodDelete, made["registration_client_uri"].(string), "", "Authorization", "Bearer "+made["registration_access_token"].(string)))
	if err := w.bearer(access); err != model.ErrRevoked || w.ended.Load() != 1 {
		t.Errorf("bearer %v, %d grants ended", err, w.ended.Load())
	}
}

func TestPreRegisteredClients(t *testing.T) {
	w := newWorld(t)
	added, err := w.clients().AddClient(t.Context(), admin.NewClient{Name: "Portal", RedirectURIs: []string{"https://portal.example/cb"}})
	w.must(err)
	c := client{id: added.ID, redirectURI: "https://portal.example/cb", verifier: strings.Repeat("v", 43)}
	a := w.post("/oauth/token", c.tokenForm(w.logIn(c), "client_secret", added.Secret))
	if a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	// The endpoint of a registration is for clients that registered.
	r := w.request(http.MethodGet, w.url+"/oauth/register/"+added.ID, "", "Authorization", "Bearer "+added.Secret)
	w.do(newBrowser(), r).wantError(t, 401, "invalid_token", "")
	public, err := w.clients().AddClient(t.Context(), admin.NewClient{Name: "Editor", RedirectURIs: []string{"http://127.0.0.1/cb"}, Public: true})
	w.must(err)
	c = client{id: public.ID, redirectURI: "http://127.0.0.1:7/cb", verifier: strings.Repeat("v", 43)}
	access, _ := w.tokens(c, w.logIn(c))
	w.must(w.bearer(access))
}

func TestIntrospection(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	rs, err := w.clients().AddClient(t.Context(), admin.NewClient{Name: "Gateway", Introspect: true})
	w.must(err)
	ask := func(token string) answer {
		return w.post("/oauth/introspect", url.Values{"token": {token}, "client_id": {rs.ID}, "client_secret": {rs.Secret}})
	}
	v := ask(access).json(t)
	if v["active"] != true || v["client_id"] != c.id || v["username"] != "alice" || v["token_type"] != "Bearer" || v["iss"] != w.url ||
		v["scope"] != "forgejo:read forgejo:write" || v["sub"] == "" || v["exp"] != float64(w.now().Unix()+14400) {
		t.Errorf("%v", v)
	}
	for _, token := range []string{refresh, "unknown", rs.Secret} {
		if a := ask(token); a.StatusCode != 200 || strings.TrimSpace(a.body) != `{"active":false}` {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
	ask("").wantError(t, 400, "invalid_request", "token")
	// Whom the operator did not allow learns nothing, not even of its own token.
	w.post("/oauth/introspect", url.Values{"token": {access}, "client_id": {c.id}}).wantError(t, 403, "unauthorized_client", "--introspect")
	w.post("/oauth/introspect", url.Values{"token": {access}, "client_id": {rs.ID}, "client_secret": {"wrong"}}).wantError(t, 401, "invalid_client", "")
	w.post("/oauth/introspect", url.Values{"token": {access}}).wantError(t, 401, "invalid_client", "")
	w.post("/oauth/revoke", url.Values{"token": {refresh}, "client_id": {c.id}})
	if a := ask(access); strings.TrimSpace(a.body) != `{"active":false}` {
		t.Errorf("a revoked token: %s", a.body)
	}
	// It has no redirect URI to log in with.
	q := client{id: rs.ID, redirectURI: "https://x.example/", verifier: c.verifier}.authorizeQuery()
	if a := w.get(w.url + "/oauth/authorize?" + q.Encode()); a.StatusCode != 400 {
		t.Errorf("authorize: %d", a.StatusCode)
	}
}
