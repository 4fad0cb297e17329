package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// refusedRequests are changes to a good authorization request that make the client
// get an error, each with its code.
func refusedRequests(w *world) map[string]struct {
	changes []string
	code    string
} {
	return map[string]struct {
		changes []string
		code    string
	}{
		"no PKCE":         {[]string{"code_challenge", ""}, "invalid_request"},
		"plain PKCE":      {[]string{"code_challenge_method", "plain"}, "invalid_request"},
		"no method":       {[]string{"code_challenge_method", ""}, "invalid_request"},
		"short challenge": {[]string{"code_challenge", "abc"}, "invalid_request"},
		"token response":  {[]string{"response_type", "token"}, "unsupported_response_type"},
		"no response":     {[]string{"response_type", ""}, "invalid_request"},
		"nothing":         {[]string{"response_type", "", "code_challenge", "", "code_challenge_method", "", "state", ""}, "invalid_request"},
		"other resource":  {[]string{"resource", "https://other.example/mcp"}, "invalid_target"},
		"pathless":        {[]string{"resource", w.url}, "invalid_target"},
		"long state":      {[]string{"state", strings.Repeat("x", 4097)}, "invalid_request"},
	}
}

// wantLink asserts a page that names where its link to the client leads, and a link
// with the error and the issuer. It returns the link's parameters.
func (a answer) wantLink(t *testing.T, what, redirectURI, named, code, issuer string) url.Values {
	t.Helper()
	if a.Header.Get("Location") != "" || a.Header.Get("Refresh") != "" || strings.Contains(strings.ToLower(a.body), "http-equiv") {
		t.Errorf("%s: the browser is sent on: %d %v", what, a.StatusCode, a.Header)
		return nil
	}
	if a.StatusCode < 400 || !strings.Contains(a.body, "<dd>"+named+"</dd>") {
		t.Errorf("%s: the page does not name %s: %d %s", what, named, a.StatusCode, a.body)
	}
	to, err := url.Parse(a.link(t, "Back to the application"))
	if err != nil || !strings.HasPrefix(to.String(), redirectURI) || to.Query().Get("error") != code || to.Query().Get("iss") != issuer {
		t.Errorf("%s: the link leads to %s, %v", what, to, err)
		return nil
	}
	return to.Query()
}

// Whoever registers an address, or publishes it, cannot have the broker send browsers
// there before the user has agreed (RFC 9700 §4.11.2): not by a faulty request, not
// by a silent one, not when the user says no.
func TestNobodyIsSentWhereHeDidNotAgreeToGo(t *testing.T) {
	w := newDocumentWorld(t)
	w.web.JSON("https://app.example/evil.json", `{"client_id":"https://app.example/evil.json","client_name":"App","redirect_uris":["https://evil.example/doc"],"token_endpoint_auth_method":"none"}`)
	for _, tc := range []struct{ id, redirectURI, named string }{
		{"", "https://evil.example/landing", "evil.example"},
		{"", "https://claude.ai/api/mcp/auth_callback", "claude.ai"},
		{"", "http://127.0.0.1:9999/cb", "127.0.0.1:9999"},
		{"", "com.example.app:/callback", "com.example.app:"},
		{"https://app.example/evil.json", "https://evil.example/doc", "evil.example"},
	} {
		c := client{id: tc.id, redirectURI: tc.redirectURI, verifier: strings.Repeat("v", 43)}
		if c.id == "" {
			c.id = w.register(`{"redirect_uris":["` + c.redirectURI + `"],"token_endpoint_auth_method":"none"}`)["client_id"].(string)
		}
		for name, bad := range refusedRequests(w) {
			query := c.authorizeQuery(bad.changes...)
			for _, path := range []string{"/oauth/authorize", "/authorize"} {
				what := name + " at " + path + " by " + tc.redirectURI
				w.get(w.url+path+"?"+query.Encode()).wantLink(t, what, c.redirectURI, tc.named, bad.code, w.url)
				form := c.authorizeQuery(append(bad.changes, "decision", "allow")...)
				w.post(path, form).wantLink(t, "form: "+what, c.redirectURI, tc.named, bad.code, w.url)
				w.get(w.url+path+"?"+query.Encode(), "Accept", "application/json").wantError(t, 400, bad.code, "")
			}
		}
		for _, prompt := range []string{"none", "login", "none login"} {
			if a := w.get(w.url + "/oauth/authorize?" + c.authorizeQuery("prompt", prompt).Encode()); a.StatusCode != 200 || a.Header.Get("Location") != "" {
				t.Errorf("prompt=%s: %d %v", prompt, a.StatusCode, a.Header)
			}
		}
		for where, a := range saysNo(w, c) {
			q := a.wantLink(t, where, c.redirectURI, tc.named, "access_denied", w.url)
			if q.Get("state") != "client state &=" || q.Has("code") {
				t.Errorf("%s: returned with %v", where, q)
			}
		}
	}
}

// saysNo has alice say no, at the consent page and at the forge.
func saysNo(w *world, c client) map[string]answer {
	w.t.Helper()
	b := newBrowser()
	answers := map[string]answer{"at the consent page": w.decide(b, w.consentForm(b, c.authorizeQuery()), "deny")}
	to := w.decide(b, w.consentForm(b, c.authorizeQuery()), "allow").location(w.t)
	alice := loginclient.NewBrowser(nil, "alice", "alice-password")
	alice.Deny = true
	back, err := alice.Authorize(w.t.Context(), to.String())
	w.must(err)
	answers["at forgejo"] = w.do(b, w.request(http.MethodGet, back.URL.String(), ""))
	return answers
}

// A client that the operator has added gets its errors as RFC 6749 §4.1.2.1 says.
func TestOperatorsClientsGetTheirErrors(t *testing.T) {
	w := newWorld(t)
	added, err := w.operator().AddClient(t.Context(), admin.NewClient{Name: "Desk", RedirectURIs: []string{"https://desk.example/cb"}, Public: true})
	w.must(err)
	c := client{id: added.ID, redirectURI: "https://desk.example/cb", verifier: strings.Repeat("v", 43)}
	for name, bad := range refusedRequests(w) {
		to := w.get(w.url + "/oauth/authorize?" + c.authorizeQuery(bad.changes...).Encode()).location(t)
		if to.Host != "desk.example" || to.Query().Get("error") != bad.code || to.Query().Get("iss") != w.url {
			t.Errorf("%s: sent to %s", name, to)
		}
	}
	for where, a := range saysNo(w, c) {
		to := a.location(t)
		if q := to.Query(); to.Host != "desk.example" || q.Get("error") != "access_denied" || q.Get("state") != "client state &=" || q.Get("iss") != w.url || q.Has("code") {
			t.Errorf("%s: sent to %s", where, to)
		}
		if !strings.Contains(w.trail.String(), where) {
			t.Errorf("the audit trail lacks %q", where)
		}
	}
}
