package fakeforge_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

func TestAPIAccess(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	narrow, _ := login(t, s, "alice", "read:user read:issue")
	bob, err := s.PersonalToken("bob", "")
	if err != nil {
		t.Fatal(err)
	}
	api := s.URL + "/api/v1"
	for _, tt := range []struct {
		name, method, path, authorization, body string
		want                                    int
	}{
		{"bearer", "GET", "/user", "Bearer " + narrow, "", 200},
		{"token", "GET", "/user", "token " + narrow, "", 200},
		{"anonymous", "GET", "/user", "", "", 401},
		{"a scheme without a token", "GET", "/version", "token ", "", 200},
		{"dead token", "GET", "/version", "Bearer dead", "", 401},
		{"scope missing", "GET", "/user/repos", "Bearer " + narrow, "", 403},
		{"scope too low", "POST", "/repos/alice/hello/issues", "Bearer " + narrow, `{"title":"t"}`, 403},
		{"scope enough", "GET", "/repos/alice/hello/issues", "Bearer " + narrow, "", 200},
		{"no scope is full access", "POST", "/repos/alice/hello/issues", "Bearer " + bob, `{"title":"t"}`, 201},
		{"another's private repository", "GET", "/repos/alice/alice-secret/issues", "Bearer " + bob, "", 404},
		{"one's own", "GET", "/repos/alice/alice-secret/issues", "Bearer " + narrow, "", 200},
		{"no title", "POST", "/repos/alice/hello/issues", "Bearer " + bob, `{"title":""}`, 422},
		{"a bad body", "POST", "/repos/alice/hello/issues", "Bearer " + bob, `{`, 422},
	} {
		if a := call(t, tt.method, api+tt.path, tt.body, "Authorization", tt.authorization); a.status != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.name, a.status, a.body, tt.want)
		}
	}
	a := call(t, "GET", api+"/repos/alice/hello/issues?state=all&limit=1&page=2", "", "Authorization", "Bearer "+narrow)
	if a.header.Get("X-Total-Count") != "3" || strings.Count(a.body, `"number"`) != 1 {
		t.Errorf("page 2 of issues: X-Total-Count %q, %s", a.header.Get("X-Total-Count"), a.body)
	}
	if err := s.Suspend("alice", true); err != nil {
		t.Fatal(err)
	}
	if a := call(t, "GET", api+"/version", "", "Authorization", "Bearer "+narrow); a.status != 403 {
		t.Errorf("a suspended user gets %d", a.status)
	}
}

// What an operator or a user of the forge does shows in its API; one round through
// all of it.
func TestSteering(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, token string, want int) {
		t.Helper()
		if got := call(t, "GET", s.URL+"/api/v1/user", "", "Authorization", "Bearer "+token).status; got != want {
			t.Errorf("%s: the API answers %d, want %d", what, got, want)
		}
	}
	refresh := func(token, secret string) map[string]any {
		t.Helper()
		return tokenRequest(t, s, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_secret": {secret}}).json(t)
	}

	access, second := login(t, s, "alice", "read:user")
	expect("after the login", access, 200)
	must(s.Suspend("alice", true))
	expect("suspended", access, 403)
	must(s.Suspend("alice", false))
	s.ExpireAccessTokens()
	expect("expired", access, 401)
	secret, err := s.RotateSecret(s.App.ClientID)
	must(err)
	if got := refresh(second, s.App.ClientSecret); got["error"] != "invalid_client" {
		t.Errorf("the old secret gives %v", got)
	}
	access, _ = refresh(second, secret)["access_token"].(string)
	expect("refreshed", access, 200)
	if n, err := s.RevokeGrants("alice"); n != 1 || err != nil {
		t.Errorf("%d grants revoked, %v", n, err)
	}
	expect("revoked", access, 401)
	personal, err := s.PersonalToken("bob", "read:user")
	must(err)
	expect("personal token", personal, 200)
	must(s.Inject(fakeforge.Fault{Path: "/api/", Kind: "status", Status: 502, Count: 1}))
	expect("with a fault", personal, 502)
	expect("after it", personal, 200)
	must(s.Inject(fakeforge.Fault{Kind: "html"}))
	s.ClearFaults()
	must(s.DeleteUser("bob"))
	expect("deleted", personal, 401)
	if stats := s.Stats(); stats != (fakeforge.Stats{Exchanges: 1, Refreshes: 1, Refused: 1}) || s.Requests("/api/v1/user") < 7 {
		t.Errorf("stats are %+v, %d requests", stats, s.Requests("/api/v1/user"))
	}
	if issued := s.Issued(); len(issued) != 4 || !slices.Contains(issued, access) || !slices.Contains(issued, second) {
		t.Errorf("%d tokens were issued, want 4 with those that came", len(issued))
	}
	must(s.DeleteApp(s.App.ClientID))
	_, revoke := s.RevokeGrants("nobody")
	for what, err := range map[string]error{
		"revoke": revoke, "fault": s.Inject(fakeforge.Fault{Kind: "nonsense"}), "application": s.DeleteApp(s.App.ClientID),
		"user": s.DeleteUser("bob"), "suspend": s.Suspend("bob", true),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestDroppedAnswer(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	_, refresh := login(t, s, "alice", "read:user")
	if err := s.Inject(fakeforge.Fault{Path: fakeforge.TokenPath, Kind: "drop", Count: 1}); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {s.App.ClientID}, "client_secret": {s.App.ClientSecret}}
	if resp, err := http.PostForm(s.URL+fakeforge.TokenPath, form); err == nil {
		resp.Body.Close()
		t.Error("an answer came")
	}
	if n := s.Stats().Refreshes; n != 1 {
		t.Errorf("%d refreshes, want the lost one", n)
	}
	if a := tokenRequest(t, s, form); a.json(t)["error"] != "unauthorized_client" {
		t.Errorf("the token can be used again: %s", a.body)
	}
}

// What a proxy before the forge has to stop.
func TestReflectionAndSudo(t *testing.T) {
	for _, profile := range []fakeforge.Profile{fakeforge.Forgejo15, fakeforge.Gitea126} {
		s := fakeforge.Start(t, fakeforge.Config{Profile: profile}, callback)
		tokens := map[string]string{}
		for _, user := range []string{"alice", "bob"} {
			token, err := s.PersonalToken(user, "all")
			if err != nil {
				t.Fatal(err)
			}
			tokens[user] = token
		}
		get := func(user, query string, header ...string) string {
			return call(t, "GET", s.URL+"/api/v1/user"+query, "", append(header, "Authorization", "token "+tokens[user])...).body
		}
		if a := call(t, "POST", s.URL+"/alice/hello.git/info/lfs/objects/batch", "{}", "Authorization", "token "+tokens["alice"]); !strings.Contains(a.body, tokens["alice"]) {
			t.Errorf("large files: %d %s", a.status, a.body)
		}
		for what, body := range map[string]string{"header": get("alice", "", "Sudo", "bob"), "query": get("alice", "?sudo=bob")} {
			if !strings.Contains(body, `"bob"`) {
				t.Errorf("sudo by %s: %s", what, body)
			}
		}
		if body := get("bob", "?sudo=alice"); !strings.Contains(body, "Only administrators") {
			t.Errorf("sudo by a user: %s", body)
		}
		if body := get("alice", "?token="+tokens["bob"]); strings.Contains(body, `"bob"`) != (profile == fakeforge.Gitea126) {
			t.Errorf("another's token in the query: %s", body)
		}
	}
}
