package fakeforge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// The routes want the scopes that Forgejo wants, and show to whom they are asked by.
func TestOrganizations(t *testing.T) {
	s := fakeforge.Start(t, fakeforge.Config{}, callback)
	for _, name := range []string{"acme", "hidden"} {
		s.AddOrganization(name, name == "hidden")
		if _, err := s.Join("alice", name, "developers"); err != nil {
			t.Fatal(err)
		}
	}
	get := func(user, scope, path string) answer {
		t.Helper()
		req := request(t, http.MethodGet, s.URL+"/api/v1"+path, "")
		if user != "" {
			token, err := s.PersonalToken(user, scope)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return send(t, req)
	}
	for _, c := range []struct {
		user, scope, path string
		status            int
		holds             string
	}{
		{"", "", "/user/orgs", http.StatusUnauthorized, ""},
		{"alice", "read:user", "/user/orgs", http.StatusForbidden, "read:organization"},
		{"alice", "read:organization", "/user/orgs", http.StatusForbidden, "read:user"},
		{"alice", "read:user read:organization", "/user/orgs", http.StatusOK, `"name":"hidden"`},
		{"alice", "read:organization", "/user/teams", http.StatusForbidden, "read:user"},
		{"alice", "read:user", "/user/teams", http.StatusOK, `"name":"acme"`},
		{"bob", "read:user read:organization", "/user/orgs", http.StatusOK, "[]"},
		{"", "", "/orgs/acme", http.StatusOK, `"name":"acme"`},
		{"", "", "/orgs/hidden", http.StatusNotFound, ""},
		{"bob", "read:organization", "/orgs/hidden", http.StatusNotFound, ""},
		{"alice", "read:organization", "/orgs/hidden", http.StatusOK, `"visibility":"private"`},
		{"", "", "/users/acme", http.StatusOK, `"login":"acme"`},
		{"", "", "/users/ALICE", http.StatusOK, `"login":"alice"`},
		{"", "", "/users/nobody", http.StatusNotFound, ""},
	} {
		a := get(c.user, c.scope, c.path)
		if a.status != c.status || !strings.Contains(a.body, c.holds) {
			t.Errorf("%s with %q by %q: %d %s", c.path, c.scope, c.user, a.status, a.body)
		}
	}
	a := get("alice", "read:user read:organization", "/user/orgs?limit=1&page=2")
	if a.header.Get("X-Total-Count") != "2" || strings.Count(a.body, `"username"`) != 1 || !strings.Contains(a.body, "hidden") {
		t.Errorf("page 2: %q of %s", a.header.Get("X-Total-Count"), a.body)
	}
	if err := s.Leave("alice", "acme"); err != nil {
		t.Fatal(err)
	}
	if a := get("alice", "read:user", "/user/teams"); strings.Contains(a.body, "acme") {
		t.Errorf("after she left: %s", a.body)
	}
	if err := s.Rename("bob", "robert"); err != nil {
		t.Fatal(err)
	}
	if a := get("", "", "/users/bob"); a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != "/api/v1/users/robert" {
		t.Errorf("a name that was given up: %d to %q", a.status, a.header.Get("Location"))
	}
}
