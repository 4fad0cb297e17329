package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Equal registrations are one client, whoever sends them, and each still has a secret of
// its own: a refresh token is good with the secret that redeemed its code.
func TestEqualRegistrations(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"none", "client_secret_post", "client_secret_basic"} {
		body := `{"client_name":"One","redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"` + method + `"}`
		one := w.register(body)
		w.advance(time.Hour)
		two := w.register(strings.Replace(body, `{`, `{"scope":"openid","client_uri":"https://one.example","software_id":"x",`, 1))
		if one["client_id"] != two["client_id"] || two["client_id_issued_at"] != float64(w.now().Unix()) || two["client_uri"] != "https://one.example" {
			t.Errorf("%v and %v", one, two)
		}
		if other := w.register(strings.Replace(body, "One", "Two", 1)); other["client_id"] == one["client_id"] {
			t.Errorf("%v", other)
		}
		for name, v := range one {
			if strings.HasPrefix(name, "registration_") {
				t.Errorf("%s: %v", name, v)
			}
		}
		c := client{id: one["client_id"].(string), redirectURI: "http://127.0.0.1:7/cb", verifier: strings.Repeat("v", 43)}
		if method == "none" {
			if one["client_secret"] != nil {
				t.Errorf("%v", one)
			}
			w.tokens(c, w.logIn(c))
			continue
		}
		mine, others := one["client_secret"].(string), two["client_secret"].(string)
		if mine == others || one["client_secret_expires_at"] != float64(0) {
			t.Errorf("%v and %v", one, two)
		}
		code := w.logIn(c)
		for _, wrong := range []string{"", "fjs_wrong", mine + "x", w.register(strings.Replace(body, "One", "Two", 1))["client_secret"].(string)} {
			w.post("/oauth/token", c.tokenForm(code, "client_secret", wrong)).wantError(t, 401, "invalid_client", "secret is wrong")
		}
		a := w.post("/oauth/token", c.tokenForm(code, "client_secret", mine))
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		refresh := a.json(t)["refresh_token"].(string)
		w.post("/oauth/token", c.refreshForm(refresh, "client_secret", others)).wantError(t, 400, "invalid_grant", "another client")
		w.post("/oauth/token", c.refreshForm(refresh)).wantError(t, 401, "invalid_client", "")
		if a := w.post("/oauth/token", c.refreshForm(refresh, "client_secret", mine)); a.StatusCode != 200 {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
}

// An id that was not given out here, or says something else than what was registered, is
// unknown at both endpoints. So is one that no key of ours has made.
func TestForgedClientIDs(t *testing.T) {
	w := newWorld(t)
	good, evil := w.newClient(), w.register(`{"redirect_uris":["https://evil.example/cb"],"token_endpoint_auth_method":"none"}`)["client_id"].(string)
	w.tokens(good, w.logIn(good)) // the honest one has its row
	tag, said, _ := strings.Cut(good.id, ".")
	_, evilSaid, _ := strings.Cut(evil, ".")
	other := newWorldKeyed(t, "other")
	foreign := other.newClient()
	for what, id := range map[string]string{
		"cut": good.id[:len(good.id)-1], "the tag alone": tag, "longer": good.id + "A", "other redirect URIs": tag + "." + evilSaid,
		"a changed tag": "a" + tag[1:] + "." + said, "a changed letter": good.id[:40] + flip(good.id[40]) + good.id[41:], "another broker's": foreign.id,
	} {
		c := client{id: id, redirectURI: "https://evil.example/cb", verifier: good.verifier}
		if what != "other redirect URIs" {
			c.redirectURI = good.redirectURI
		}
		w.get(w.url+"/oauth/authorize?"+c.authorizeQuery().Encode(), "Accept", "application/json").wantError(t, 400, "invalid_client", "registers anew")
		w.post("/oauth/token", c.refreshForm("fjr_x")).wantError(t, 401, "invalid_client", "register again")
	}
	good.redirectURI = "https://evil.example/cb"
	w.get(w.url+"/oauth/authorize?"+good.authorizeQuery().Encode(), "Accept", "application/json").wantError(t, 400, "invalid_request", "not one that the application registered")
}

func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// A key is changed while clients are on their way: who has logged in goes on, who has not
// is told to register again.
func TestClientsAndAChangedKey(t *testing.T) {
	w := newWorldKeyed(t, "old")
	in, out := w.newClient(), w.register(`{"redirect_uris":["http://127.0.0.1/out"],"token_endpoint_auth_method":"none"}`)["client_id"].(string)
	_, refresh := w.tokens(in, w.logIn(in))
	waiting := client{id: out, redirectURI: "http://127.0.0.1/out", verifier: in.verifier}

	w.useKeys("new", "old")
	w.logIn(in)
	if a := w.get(w.url + "/oauth/authorize?" + waiting.authorizeQuery().Encode()); a.StatusCode != 200 {
		t.Errorf("with both keys: %d", a.StatusCode)
	}
	_, err := w.store.Reseal(t.Context())
	w.must(err)
	w.useKeys("new")
	if a := w.post("/oauth/token", in.refreshForm(refresh)); a.StatusCode != 200 {
		t.Errorf("a refresh: %d %s", a.StatusCode, a.body)
	}
	w.logIn(in)
	w.get(w.url+"/oauth/authorize?"+waiting.authorizeQuery().Encode(), "Accept", "application/json").wantError(t, 400, "invalid_client", "registers anew")
	w.post("/oauth/token", waiting.tokenForm("fjc_x")).wantError(t, 401, "invalid_client", "register again")
}

func TestTooLargeRegistration(t *testing.T) {
	w := newWorld(t)
	var uris []string
	for range 32 {
		uris = append(uris, `"https://a.example/`+model.NewToken("")+model.NewToken("")+`"`)
	}
	a := w.do(newBrowser(), w.request(http.MethodPost, w.url+"/oauth/register", `{"redirect_uris":[`+strings.Join(uris, ",")+`]}`))
	a.wantError(t, 400, "invalid_client_metadata", "2048 characters; register fewer or shorter redirect_uris")
}

// There is nothing to manage: a registration has no owner (RFC 7592).
func TestRegistrationsAreNotManaged(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		if a := w.do(newBrowser(), w.request(method, w.url+"/oauth/register/"+c.id, "{}", "Authorization", "Bearer "+c.id)); a.StatusCode != 404 {
			t.Errorf("%s: %d", method, a.StatusCode)
		}
	}
	w.logIn(c)
}

func TestPreRegisteredClients(t *testing.T) {
	w := newWorld(t)
	added, err := w.operator().AddClient(t.Context(), admin.NewClient{Name: "Portal", RedirectURIs: []string{"https://portal.example/cb"}})
	w.must(err)
	c := client{id: added.ID, redirectURI: "https://portal.example/cb", verifier: strings.Repeat("v", 43)}
	a := w.post("/oauth/token", c.tokenForm(w.logIn(c), "client_secret", added.Secret))
	if a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	public, err := w.operator().AddClient(t.Context(), admin.NewClient{Name: "Editor", RedirectURIs: []string{"http://127.0.0.1/cb"}, Public: true})
	w.must(err)
	c = client{id: public.ID, redirectURI: "http://127.0.0.1:7/cb", verifier: strings.Repeat("v", 43)}
	access, _ := w.tokens(c, w.logIn(c))
	w.must(w.bearer(access))
}

func TestIntrospection(t *testing.T) {
	w := newWorld(t)
	c := w.newClient()
	access, refresh := w.tokens(c, w.logIn(c))
	rs, err := w.operator().AddClient(t.Context(), admin.NewClient{Name: "Gateway", Introspect: true})
	w.must(err)
	ask := func(token string) answer {
		return w.post("/oauth/introspect", url.Values{"token": {token}, "client_id": {rs.ID}, "client_secret": {rs.Secret}})
	}
	v := ask(access).json(t)
	if v["active"] != true || v["client_id"] != c.id || v["username"] != "alice" || v["token_type"] != "Bearer" || v["iss"] != w.url ||
		v["scope"] != "forgejo:read forgejo:write" || v["sub"] == "" || v["exp"] != float64(w.now().Unix()+14400) {
		t.Errorf("%v", v)
	}
	bound, _ := w.bound(c, "/mcp/x/issues/readonly/")
	if aud := ask(bound).json(t)["aud"]; v["aud"] != nil || aud != w.url+"/mcp/x/issues/readonly" {
		t.Errorf("audiences %v and %v", v["aud"], aud)
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
