package forgeapi

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func mustParse(t testing.TB, value string) Policy {
	t.Helper()
	p, err := ParsePolicy(value)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func opens(t testing.TB, p Policy, method, path string) bool {
	t.Helper()
	d, err := p.Decide(method, path)
	return err == nil && d.Open
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for line := range strings.Lines(table) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		key := f[0] + " " + f[1]
		if len(f) < 5 || len(f) > 6 || !slices.Contains(methods, f[0]) || f[0] == "HEAD" || f[2] == "" || f[3] != "open" && f[3] != "closed" || seen[key] {
			t.Errorf("faulty line: %q", line)
		}
		seen[key] = true
		if r := parse(line); opens(t, Policy{}, r.Method, example(r.Path)) != r.Open {
			t.Errorf("%s is decided otherwise than the table says", key)
		}
	}
}

// example is a path of a template.
func example(template string) string {
	var out []string
	for s := range strings.SplitSeq(template, "/") {
		if strings.HasPrefix(s, "{") {
			s = "x-1"
		}
		out = append(out, s)
	}
	return strings.Join(out, "/")
}

// These are the tools and resources of forgejo-mcp that do nothing unless the operator opens more.
// docs/operations.md names them.
func TestToolsTakenAway(t *testing.T) {
	taken := map[string]bool{}
	for _, r := range Routes() {
		for _, tool := range r.Tools {
			if !r.Open {
				taken[tool] = true
			}
		}
	}
	want := []string{
		"add_team_member", "add_team_repo", "create_branch_protection", "create_org_team", "create_repo_hook",
		"delete_branch_protection", "edit_branch_protection", "edit_repo_hook", "forgejo://repo/{owner}/{repo}/hook/{id}",
		"forgejo://repo/{owner}/{repo}/hooks", "get_repo_hook", "list_repo_hooks",
	}
	var got []string
	for tool := range taken {
		got = append(got, tool)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestParsePolicy(t *testing.T) {
	for _, tt := range []struct{ value, want, fault string }{
		{"", "default", ""},
		{" default ", "default", ""},
		{"open:webhooks  close:/User/emails", "open:webhooks close:/User/emails", ""},
		{"open:everything close:admin", "open:everything close:admin", ""},
		{"open:POST/repos/*/*/statuses", "open:POST/repos/*/*/statuses", ""},
		{"/user/emails open: shut:admin open:nothing open:/ open:/api/v1/user open:/a//b open:/a/ close:/a/../b close:/a%2fb close:/x?y close:/* open:post/x open:/ok default", "",
			`faulty: "/user/emails", "open:", "shut:admin", "open:nothing", "open:/", "open:/api/v1/user", "open:/a//b", "open:/a/", "close:/a/../b", "close:/a%2fb", "close:/x?y", "close:/*", "open:post/x", "default"`},
		{strings.Repeat("close:/a ", maxRules+1), "", "want at most 200 words, got 201"},
	} {
		p, err := ParsePolicy(tt.value)
		if tt.fault != "" {
			if err == nil || !strings.HasSuffix(err.Error(), tt.fault) {
				t.Errorf("%q: got %v, want …%s", tt.value, err, tt.fault)
			}
			continue
		}
		if err != nil || p.String() != tt.want {
			t.Errorf("%q: got %q, %v; want %q", tt.value, p, err, tt.want)
		}
		if again := mustParse(t, p.String()); again.String() != p.String() {
			t.Errorf("%q does not parse as itself: %q", p, again)
		}
	}
}

func TestDecide(t *testing.T) {
	const repo = "/api/v1/repos/a/b"
	closed := []string{
		"POST /a/b.git/info/lfs/objects/batch", "POST /a/b/info/lfs/objects/batch", "POST /a/b.git/git-receive-pack", "GET /a/b.git/info/refs",
		"GET /", "GET /a/b", "GET /v2/token", "GET /api/packages/archive/x/y", "GET /api/packages/raw/conan/v1", "GET /api/swagger",
		"POST " + repo + "/hooks", "GET " + repo + "/hooks", "PATCH " + repo + "/hooks/7", "POST /api/v1/user/hooks", "PATCH " + repo + "/hooks/git/pre-receive",
		"POST " + repo + "/push_mirrors", "POST /api/v1/repos/migrate", "POST " + repo + "/keys", "GET /api/v1/user/keys", "GET /api/v1/user/keys/", "GET /api/v1/user/keys/7",
		"PUT " + repo + "/collaborators/eve", "POST /api/v1/users/a/tokens", "POST /api/v1/user/applications/oauth2", "PUT " + repo + "/actions/secrets/X",
		"GET /api/v1/user/actions/runners/registration-token", "POST " + repo + "/transfer", "POST " + repo + "/avatar", "POST /api/v1/user/emails", "PATCH " + repo, "PATCH /api/v1/teams/7",
		"PUT /api/v1/teams/7/members/eve", "POST " + repo + "/branch_protections", "DELETE " + repo + "/branch_protections/release/1", "POST " + repo + "/tag_protections",
		"GET /api/v1/admin/users", "POST " + repo + "/contents", "PUT " + repo + "/contents/.forgejo/workflows/x.yml", "PUT " + repo + "/contents/.gitea%2fworkflows%2fx.yml",
		"POST " + repo + "/contents/.github/workflows%2Fx/y", "GET /api/v1/not-invented-yet",
		// other methods, other readings
		"TRACE /api/v1/user", "CONNECT /api/v1/user", "OPTIONS /api/v1/user", "get /api/v1/user", "PROPFIND /api/v1/user", "QUERY /api/v1/user",
		"GET /API/V1/User", "GET //", "GET //api/v1/user", "GET /api/v1//user", "GET /api/v1/./user", "GET /api/v1\\user", "GET /api/v1/%2e/user", "GET /api/v1/user%2f", "GET /api/v1/user//",
		"GET /api/v1/repos/a%2fb/../c", "GET " + repo + "/contents/..", "GET " + repo + "/contents/%2e%2e/x", "GET " + repo + "/contents/x%2f..%2fy", "GET " + repo + "/contents/%252e%252e/y",
		"GET " + repo + "/contents/a%5cb", "GET " + repo + "/contents/a%00", "GET " + repo + "/contents/a%0a", "GET " + repo + "/contents/%ff", "GET " + repo + "/contents/%c0%ae", "GET " + repo + "/contents/a;b",
		"GET /api/v1/repos/a%2fb/c", "GET /api/v1/repos/a/b%2fhooks", "GET /api/v1/us%65r/keys", "GET ", "GET api/v1/user", "GET *", "GET /api/v1/user/%zz",
	}
	open := []string{
		"GET /api/v1/version", "HEAD /api/v1/version", "GET /api/v1/us%65r", "GET /api/v1/user/", "GET " + repo, "GET /api/v1/repos/admin/keys", "GET /api/v1/repos/user/tokens",
		"GET " + repo + "/contents/", "GET " + repo + "/contents", "GET " + repo + "/contents/api/v1/admin", "GET " + repo + "/contents/100%25", "GET " + repo + "/contents/a%3bb",
		"GET " + repo + "/contents/.forgejo/workflows/x.yml", "DELETE " + repo + "/contents/.forgejo/workflows/x.yml", "PUT " + repo + "/contents/docs/.forgejo/workflows/x", "PUT " + repo + "/contents/a%2fb",
		"DELETE " + repo + "/branches/feature%2fx", "GET " + repo + "/wiki/page/Guides%2FSetup", "GET " + repo + "/commits/feature%2fx/statuses", "GET " + repo + "/compare/main...x",
		"DELETE " + repo + "/hooks/7", "GET /attachments/0-0", "GET /a/b/raw/branch/main/x", "GET /a/b/archive/main.tar.gz", "GET /a/b/releases/download/v1/x", "GET /a/b/media/branch/main/x",
		"GET " + repo + "/pulls/1.diff", "POST " + repo + "/issues/1/assets",
	}
	for decided, requests := range map[bool][]string{false: closed, true: open} {
		for _, request := range requests {
			method, path, _ := strings.Cut(request, " ")
			if opens(t, Policy{}, method, path) != decided {
				t.Errorf("%s: not %v", request, decided)
			}
		}
	}
}

func TestPolicyDecides(t *testing.T) {
	const hooks, workflow = "POST /api/v1/repos/a/b/hooks", "PUT /api/v1/repos/a/b/contents/.forgejo/workflows/x"
	for _, tt := range []struct {
		policy, request string
		want            bool
	}{
		{"open:webhooks", hooks, true},
		{"open:webhooks close:/repos/*/*/hooks", hooks, false},
		{"close:/repos/*/*/hooks open:webhooks", hooks, true},
		{"open:/repos/*/*/hooks", hooks, true},
		{"open:GET/repos/*/*/hooks", hooks, false},
		{"open:GET/repos/*/*/hooks", "HEAD /api/v1/repos/a/b/hooks/1", true},
		{"open:/repos/a/b/hooks", "POST /api/v1/repos/a/c/hooks", false},
		{"open:workflows", workflow, true},
		{"close:write", workflow, false},
		{"open:workflows close:write", workflow, false},
		{"open:everything", workflow, true},
		{"open:everything", "GET /anything", true},
		{"open:everything", "GET /", true},
		{"open:everything", "TRACE /api/v1/user", false},
		{"open:everything", "GET /api/v1/user%2f..%2fkeys", false},
		{"open:everything close:keys", "GET /api/v1/user/keys", false},
		{"open:git", "POST /a/b.git/git-upload-pack", true},
		{"open:git", "POST /a/b.git/info/lfs/objects/batch", false},
		{"open:/repos/*/*/new", "POST /api/v1/repos/a/b/new/thing", true},
		{"close:/repos/alice", "GET /api/v1/repos/Alice/b", false},
		{"close:/user", "GET /api/v1/users/a", true},
		{"close:/repos/*/*/contents/secret", "GET /api/v1/repos/a/b/contents/secret%2fx", false},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		if opens(t, mustParse(t, tt.policy), method, path) != tt.want {
			t.Errorf("%q: %s is not %v", tt.policy, tt.request, tt.want)
		}
	}
}

// Whatever Go's own reading of a path is, fully unescaped and cleaned or not at
// all, a closed one is not open.
func FuzzDecide(f *testing.F) {
	for _, seed := range []string{"/api/v1/user/keys", "/api/v1/x/../user%2fkeys", "/%61pi/v1/admin", "//api/v1/users/a/tokens", "/api/v1/user\\keys", "/api/v1/repos/a/b/contents/x%2f..%2f..%2fhooks"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.Parse("http://forge" + path)
		if err != nil || u.Host != "forge" {
			return
		}
		for _, reading := range []string{u.JoinPath().Path, u.Path, u.EscapedPath()} {
			if rest, ok := strings.CutPrefix(reading, "/api/v1/"); ok && closedFamily(rest) && opens(t, Policy{}, "GET", u.EscapedPath()) {
				t.Errorf("%q is open", u.EscapedPath())
			}
		}
	})
}

func closedFamily(rest string) bool {
	for _, family := range []string{"user/keys", "admin", "user/hooks"} {
		if rest == family || strings.HasPrefix(rest, family+"/") {
			return true
		}
	}
	return false
}

func BenchmarkDecide(b *testing.B) {
	var p Policy
	for b.Loop() {
		if d, err := p.Decide("GET", "/api/v1/repos/owner/name/issues/17/comments"); err != nil || !d.Open {
			b.Fatal("closed")
		}
	}
}
