package forgeapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Each line says in known words which repositories it names, and a path that holds a
// repository does not pass for one that holds none.
func TestColumnOfNames(t *testing.T) {
	words := []string{
		wordRepo, wordOwner, wordRepos, wordNone, wordAcross, inPath, bodyHead,
		"body:username", "body:/name", "body:organization", "body:organization/name", "body:owner", "body:owner/name", "body:owner/repo",
	}
	for text := range strings.Lines(table) {
		l := cut(text)
		names := strings.Fields(l.names)
		faulty := len(names) == 0 || slices.ContainsFunc(names, func(w string) bool { return !slices.Contains(words, w) })
		alone := slices.Contains(names, wordNone) || slices.Contains(names, wordAcross)
		holdsRepo, holdsOwner := strings.Contains(l.template, "{repo}"), strings.Contains(l.template, "{org}") || strings.Contains(l.template, "{owner}") || strings.Contains(l.template, "{username}")
		saysRepo, saysOwner := slices.Contains(names, wordRepo), slices.Contains(names, wordOwner) || slices.Contains(names, wordRepos)
		switch {
		case faulty, alone && len(names) != 1,
			!alone && holdsRepo != saysRepo,
			!alone && !holdsRepo && holdsOwner != saysOwner,
			holdsOwner && slices.Contains(names, wordNone),
			strings.Contains(l.names, inBody) && l.method == "GET":
			t.Errorf("%s %s: the column of names says %q", l.method, l.template, l.names)
		}
	}
}

func namesOf(t *testing.T, method, path string, body map[string]string) Names {
	t.Helper()
	d, err := Policy{}.Decide(method, path)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return d.Names(func(name string) string { return body[name] })
}

func TestNames(t *testing.T) {
	repos := func(all ...string) Names { return Names{Repositories: all} }
	owners := func(all ...string) Names { return Names{Owners: all} }
	across, none := Names{Across: true}, Names{}
	type body = map[string]string
	const repo = "/api/v1/repos/Acme/Site"
	for _, tt := range []struct {
		request string
		body    body
		want    Names
	}{
		{"GET " + repo, nil, repos("acme/site")},
		{"GET " + repo + ".git", nil, repos("acme/site")},
		{"GET " + repo + "/contents/other/repo/x", nil, repos("acme/site")},
		{"GET " + repo + "/contents/a%2fb", nil, repos("acme/site")},
		{"GET /api/v1/repos/Acme%2FSite/contents", nil, repos("acme/site")},
		{"GET /acme/site.wiki/raw/x", nil, repos("acme/site")},
		{"GET /acme/site.wiki.git/info/refs", nil, repos("acme/site")},
		{"GET /acme/site.rss/raw/x", nil, repos("acme/site.rss", "acme/site")},
		{"GET /acme/site.atom.rss/raw/x", nil, repos("acme/site.atom.rss", "acme/site")},
		{"GET /acme/site./raw/x", nil, repos("acme/site.")},
		{"GET /acme/sit%C3%A9/raw/x", nil, across},
		{"GET /acme/site%20/raw/x", nil, across},
		{"GET /acme/%E2%84%AAelvin/raw/x", nil, across}, // becomes a k in lower case
		{"GET /api/v1/repos/issues/search", nil, Names{Repositories: []string{"issues/search"}, Across: true}},
		{"GET /api/v1/user/starred/acme/site", nil, repos("acme/site")},
		{"GET /api/v1/orgs/Acme", nil, owners("acme")},
		{"GET /api/v1/orgs/acme/members/bob", nil, owners("acme")},
		{"GET /api/v1/orgs/acm%C3%A9", nil, across},
		{"GET /api/v1/users/bob@example.org", nil, across},
		{"GET /api/v1/orgs/acme/repos", nil, repos("acme/*")},
		{"GET /api/v1/users/bob/repos", nil, repos("bob/*")},
		{"GET /api/v1/packages/acme/npm/x/1", nil, Names{Repositories: []string{"acme/*"}, Owners: []string{"acme"}}},
		{"GET /api/v1/user", nil, none},
		{"GET /api/v1/version", nil, none},
		{"GET /api/v1/user/repos", nil, across},
		{"GET /api/v1/repos/search", nil, across},
		{"GET /api/v1/notifications", nil, across},
		{"GET /api/v1/repositories/7", nil, across},
		{"GET /api/v1/teams/7/repos/acme/site", nil, across},
		{"GET /attachments/0-0", nil, across},
		{"GET /acme/site/attachments/0-0", nil, across},
		{"GET /acme/site/releases/attachments/0-0", nil, across},
		{"GET " + repo + "/issues/1/timeline", nil, across},
		{"GET " + repo + "/issues/1/dependencies", nil, across},
		{"GET " + repo + "/forks", nil, across},
		{"GET /not/in/the/table", nil, across},

		{"GET " + repo + "/pulls/1/files", nil, repos("acme/site")},
		{"GET " + repo + "/pulls/main/x", nil, repos("acme/site")},
		{"GET " + repo + "/pulls/main/bob:x", nil, Names{Repositories: []string{"acme/site"}, Across: true}},
		{"GET " + repo + "/pulls/main/bob%2Fsecret%3Ax", nil, Names{Repositories: []string{"acme/site"}, Across: true}},
		{"GET " + repo + "/compare/main...x", nil, repos("acme/site")},
		{"GET " + repo + "/compare/release/1..x/y", nil, repos("acme/site")},
		{"GET " + repo + "/compare/main...Bob:x", nil, repos("acme/site", "bob/*")},
		{"GET " + repo + "/compare/main..bob%3Ax", nil, repos("acme/site", "bob/*")},
		{"GET " + repo + "/compare/bob:x", nil, Names{Repositories: []string{"acme/site"}, Across: true}},
		{"GET " + repo + "/compare/bob:x...main", nil, Names{Repositories: []string{"acme/site"}, Across: true}},
		{"GET " + repo + "/compare/main...bob/secret:x", nil, Names{Repositories: []string{"acme/site", "bob/secret"}, Across: true}},
		{"GET " + repo + "/compare/main...bob%2Fsecret:x", nil, Names{Repositories: []string{"acme/site", "bob/secret"}, Across: true}},

		{"POST " + repo + "/pulls", body{"head": "feature/x"}, repos("acme/site")},
		{"POST " + repo + "/pulls", body{"head": "Bob:x"}, repos("acme/site", "bob/*")},
		{"POST " + repo + "/pulls", body{"head": "bob/Secret:x"}, repos("acme/site", "bob/secret")},
		{"POST " + repo + "/pulls", body{"head": "bob/a/b:x"}, Names{Repositories: []string{"acme/site"}, Across: true}},
		{"POST " + repo + "/pulls", body{"head": "b\u00f6b:x"}, Names{Repositories: []string{"acme/site"}, Across: true}},
		{"POST " + repo + "/forks", body{"organization": "Other"}, Names{Repositories: []string{"acme/site", "other/site"}, Owners: []string{"other"}}},
		{"POST " + repo + "/forks", body{"organization": "other", "name": "new"}, Names{Repositories: []string{"acme/site", "other/new"}, Owners: []string{"other"}}},
		{"POST " + repo + "/forks", body{"name": "new"}, Names{Repositories: []string{"acme/site"}, Across: true}},
		{"POST " + repo + "/generate", body{"owner": "other", "name": "new"}, Names{Repositories: []string{"acme/site", "other/new"}, Owners: []string{"other"}}},
		{"POST " + repo + "/issues/1/dependencies", body{"owner": "Acme", "repo": "Site"}, repos("acme/site")},
		{"POST " + repo + "/issues/1/dependencies", body{"owner": "other", "repo": "secret"}, repos("acme/site", "other/secret")},
		{"DELETE " + repo + "/issues/1/blocks", body{"owner": "other"}, repos("acme/site", "other/site")},
		{"DELETE " + repo + "/issues/1/blocks", body{"repo": "secret"}, Names{Repositories: []string{"acme/site"}, Across: true}},
		{"PATCH " + repo, body{"name": "secret"}, repos("acme/site", "acme/secret")},
		{"PATCH " + repo, nil, repos("acme/site")},
		{"POST /api/v1/orgs/acme/repos", body{"name": "New"}, Names{Repositories: []string{"acme/new"}, Owners: []string{"acme"}}},
		{"POST /api/v1/user/repos", body{"name": "new"}, across},
		{"POST /api/v1/orgs", body{"username": "New"}, owners("new")},
		{"POST /api/v1/orgs", nil, across},
		{"POST /api/v1/repos/migrate", body{"repo_owner": "acme"}, across},
		{"POST " + repo + "/transfer", body{"new_owner": "acme"}, across},
		{"POST " + repo + "/merge-upstream", nil, across},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		if got := namesOf(t, method, path, tt.body); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s %v: got %+v, want %+v", tt.request, tt.body, got, tt.want)
		}
	}
}

// A tool's rule is held against the route that the forge takes, not against a wider one
// that the path would fit, too.
func TestClosestRoutes(t *testing.T) {
	for request, want := range map[string][]string{
		"GET /api/v1/repos/issues/search":                     {"/api/v1/repos/issues/search"},
		"GET /api/v1/repos/a/b/pulls/1/files":                 {"/api/v1/repos/{owner}/{repo}/pulls/{index}/files"},
		"GET /api/v1/repos/a/b/pulls/1/x":                     {"/api/v1/repos/{owner}/{repo}/pulls/{base...}/{head...}"},
		"GET /api/v1/repos/a/b/releases/latest":               {"/api/v1/repos/{owner}/{repo}/releases/latest"},
		"GET /api/v1/repos/a/b/releases/1":                    {"/api/v1/repos/{owner}/{repo}/releases/{id}"},
		"PUT /api/v1/repos/a/b/contents/.forgejo/workflows/x": {"/api/v1/repos/{owner}/{repo}/contents/.forgejo/workflows/{filepath...}"},
		"GET /api/v1/repos/a/b/contents/x%2fy":                {"/api/v1/repos/{owner}/{repo}/contents/{filepath...}", "/api/v1/repos/{owner}/{repo}/contents/{filepath...}"},
		"GET /nowhere":                                        nil,
	} {
		method, path, _ := strings.Cut(request, " ")
		d, err := Policy{}.Decide(method, path)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range d.Routes() {
			got = append(got, r.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", request, got, want)
		}
	}
	// Each tool reaches what the table says it asks for by a path that is not another's.
	for _, r := range Routes() {
		d, err := Policy{}.Decide(r.Method, example(r.Path))
		if err != nil {
			t.Fatal(err)
		}
		for _, closest := range d.Routes() {
			if closest.Path != r.Path && len(r.Tools) > 0 && !slices.ContainsFunc(r.Tools, func(tool string) bool { return slices.Contains(closest.Tools, tool) }) {
				t.Errorf("a path of %s %s is taken for one of %s, which none of its tools uses", r.Method, r.Path, closest.Path)
			}
		}
	}
}

// Whatever a path is, what it names has the form that rules are held against, and what
// names a repository in a place of the table is not taken for nothing.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"/api/v1/repos/acme/site", "/acme/site.rss/raw/x", "/api/v1/repos/acme%2fsite/compare/a...b:c", "/api/v1/packages/acme/x/y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		d, err := Policy{}.Decide("GET", path)
		if err != nil {
			return
		}
		n := d.Names(func(string) string { return "" })
		for _, repo := range n.Repositories {
			owner, name, _ := strings.Cut(repo, "/")
			if repo != strings.ToLower(repo) || name != AnyOf && Repo(owner, name) == "" || !namePattern.MatchString(owner) {
				t.Errorf("%q names %q", path, repo)
			}
		}
		if rest, ok := strings.CutPrefix(path, "/api/v1/repos/"); ok && !n.Across && len(n.Repositories) == 0 {
			t.Errorf("%q names nothing (%q)", path, rest)
		}
	})
}

func BenchmarkNames(b *testing.B) {
	d, err := Policy{}.Decide("GET", "/api/v1/repos/owner/name/issues/17/comments")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if n := d.Names(nil); len(n.Repositories) != 1 || len(d.Routes()) != 1 {
			b.Fatal(n)
		}
	}
}

// TestToolsAcross: those that find, list or change what is in several repositories.
func TestToolsAcross(t *testing.T) {
	for name, want := range map[string]bool{
		"search_issues": true, "search_repos": true, "list_my_repos": true, "check_notifications": true,
		"mark_notification_read": true, "download_issue_attachment": true, "add_team_repo": true,
		"create_repo": false, "list_repo_issues": false, "create_issue": false, "get_my_user_info": false,
		"get_forgejo_mcp_server_version": false, "merge_pull_request": false,
	} {
		if tool, ok := ToolNamed(name); !ok || tool.Across() != want {
			t.Errorf("%s (known: %v): got %v", name, ok, tool.Across())
		}
	}
}
