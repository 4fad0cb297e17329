package forgeapi

import "testing"

func TestRepoOfAPath(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/repos/alice/site":                    "alice/site",
		"/api/v1/repos/alice/site/issues/7":           "alice/site",
		"/api/v1/repos/alice/site/contents/repos/b/c": "alice/site",
		"/api/v1/repos/al%69ce/site.x/raw/a%2Fb":      "alice/site.x",
		"/api/v1/teams/3/repos/org/site":              "org/site",
		"/alice/site.git/info/refs":                   "alice/site",
		"/api/v1/repos/issues/search":                 "",
		"/api/v1/repos/search":                        "",
		"/api/v1/user/repos":                          "",
		"/api/v1/packages/alice/container/site":       "",
		"/api/v1/repos/alice/s%20p":                   "",
		"/api/v1/nowhere/alice/site":                  "",
		"/api/v1/repos/alice/s\u2028te":               "",
		"/api/v1/repos/alice/site/branches/b%2Fc":     "alice/site",
		"/api/v1/repos/alice%2Fsite/issues":           "alice/site", // as a server that takes it for a slash
	} {
		if d, _ := (Policy{}).Decide("GET", path); d.Repo != want {
			t.Errorf("%s: got %q, want %q", path, d.Repo, want)
		}
	}
}
