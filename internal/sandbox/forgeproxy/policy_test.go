package forgeproxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

const jsonHeader = "Content-Type: application/json\r\n"

// limited is a session whose user may do what the grant covers and the denials do not.
func limited(t *testing.T, grant policy.Cover, denials ...policy.Cover) *guardedForge {
	t.Helper()
	g := newGuarded(t, "")
	g.limit(t, policy.Limits{{Grants: []policy.Cover{grant}, Denials: denials}})
	return g
}

func (g *guardedForge) limit(t *testing.T, l policy.Limits) {
	t.Helper()
	if key := g.SetMode(control.ModeReadWrite, l.JSON()); key != l.Key() {
		t.Fatalf("%s is in force as %q", l.JSON(), key)
	}
}

// judge sends METHOD path, below the forge's, perhaps with a body.
func (g *guardedForge) judge(t *testing.T, reason control.Reason, request, body string) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	header := ""
	if method != "GET" && method != "HEAD" {
		header = jsonHeader
	}
	g.want(t, reason, method, "/git"+path, header, body)
}

func (g *guardedForge) judgeAll(t *testing.T, reason control.Reason, requests ...string) {
	t.Helper()
	for _, request := range requests {
		g.judge(t, reason, request, "")
	}
}

const apiRepo, apiSecret = "/api/v1/repos/acme/site", "/api/v1/repos/acme/secret"

// Where a grant names repositories, nothing of another one can be had, whatever it is called.
func TestGrantedRepositories(t *testing.T) {
	for _, grant := range []policy.Cover{{Repositories: []string{"acme/site"}}, {Repositories: []string{"acme/si*e"}}} {
		g := limited(t, grant)
		g.judgeAll(t, "",
			"GET /api/v1/version", "GET /api/v1/user", "GET "+apiRepo, "GET /api/v1/repos/ACME/Site", "GET "+apiRepo+".git", "GET "+apiRepo+"/contents/x?ref=other%2Fsecret%3Amain",
			"GET "+apiRepo+"/archive/main.zip", "GET /acme/site/raw/branch/main/x", "GET /acme/site/media/branch/main/x", "GET /acme/site.wiki/raw/x", "DELETE "+apiRepo+"/branches/x",
			"GET "+apiRepo+"/pulls/1/files", "GET "+apiRepo+"/compare/main...x", "GET "+apiRepo+"/raw/a%2Fb", "GET /acme/site/releases/download/v1/x", "GET /api/v1/settings/api",
		)
		g.judgeAll(t, control.ReasonPolicy,
			"GET "+apiSecret, "GET /api/v1/repos/acme/Secret", "GET "+apiSecret+".git", "GET "+apiSecret+"/contents/x", "GET "+apiSecret+"/raw/acme/site", "GET "+apiSecret+"/contents/..x",
			"GET "+apiSecret+"/archive/main.zip", "GET /acme/secret/raw/branch/main/x", "GET /acme/secret/media/branch/main/x", "GET /acme/secret/releases/download/v1/x", "GET /acme/secret.wiki/raw/x",
			"GET /api/v1/repos/acme/site./contents", "GET /api/v1/repos/acme/site%20/contents", "GET /api/v1/repos/acme/s%C4%ABte/contents", "GET /api/v1/repos/acme/%C5%BFite/contents",
			"GET /api/v1/repos/acme/site.rss/contents", "GET /api/v1/repos/site/acme/contents", "GET /api/v1/repos/acme%2Fsecret/contents",
			"GET /api/v1/repos/acme/site%3A/contents",
			// lists, ids and uuids
			"GET /api/v1/user/repos", "GET /api/v1/user/repos?q=site", "GET /api/v1/repos/search", "GET /api/v1/repos/search?owner=acme&q=site&priority_repo_id=1&uid=1&team=1", "GET /api/v1/repos/issues/search?owner=acme",
			"GET /api/v1/repositories/1", "GET /api/v1/teams/1", "GET /api/v1/teams/1/repos", "GET /api/v1/teams/1/repos/acme/site", "GET /api/v1/notifications", "GET /api/v1/notifications/threads/1",
			"PUT /api/v1/notifications", "GET /api/v1/user/times", "GET /api/v1/user/stopwatches", "GET /api/v1/user/starred", "GET /api/v1/user/subscriptions", "GET /api/v1/user/orgs", "GET /api/v1/orgs",
			"GET /attachments/0-0", "GET /acme/site/attachments/0-0", "GET /acme/site/releases/attachments/0-0", "GET "+apiRepo+"/forks", "GET "+apiRepo+"/issues/1/dependencies", "GET "+apiRepo+"/issues/1/blocks",
			"GET "+apiRepo+"/issues/1/timeline", "GET "+apiRepo+"/activities/feeds", "GET /api/v1/users/acme/activities/feeds", "GET /api/v1/users/acme/heatmap",
			// owners
			"GET /api/v1/orgs/acme", "GET /api/v1/orgs/acme/repos", "GET /api/v1/users/acme", "GET /api/v1/users/acme/repos", "GET /api/v1/orgs/acme/labels", "GET /api/v1/packages/acme", "GET /api/v1/packages/acme/npm/site/1",
			// branches of others
			"GET "+apiRepo+"/compare/main...other:x", "GET "+apiRepo+"/compare/main..other%3Ax", "GET "+apiRepo+"/compare/main...acme/secret:x", "GET "+apiRepo+"/compare/acme/secret:x...main",
			"GET "+apiRepo+"/compare/other:x", "GET "+apiRepo+"/pulls/main/other:x", "GET "+apiRepo+"/pulls/main/acme/secret:x", "GET "+apiRepo+"/pulls/main%2Facme%2Fsecret:x/y",
		)
		g.judgeAll(t, control.ReasonDeniedRequest,
			"GET "+apiRepo+"/../secret/contents", "GET "+apiRepo+"/%2e%2e/secret", "GET "+apiRepo+"/contents/x%2F..%2F..%2F..%2Fsecret", "GET "+apiRepo+"//contents", "GET /api/v1/repos/acme/.%2Fsecret",
			"GET /api/v1/repos//acme/site", "GET "+apiRepo+"/contents/..", "GET /api/v1/repos/acme/site%2F../secret", "GET /acme/site\\..\\secret/raw/x", "GET "+apiRepo+"/%252e%252e/secret", "GET "+apiRepo+";/x", "GET /api/v1/repos/acme/site%2F/contents/x",
		)
	}
}

// What an owner's name stands for, and what a denial takes away, one repository of several
// among it.
func TestGrantedOwnersAndDeniedRepositories(t *testing.T) {
	g := limited(t, policy.Cover{Owners: []string{"acme"}})
	g.judgeAll(t, "", "GET "+apiRepo, "GET "+apiSecret, "GET /api/v1/orgs/Acme", "GET /api/v1/orgs/acme/repos", "GET /api/v1/orgs/acme/labels", "GET /api/v1/packages/acme", "GET "+apiRepo+"/compare/main...acme:x")
	g.judgeAll(t, control.ReasonPolicy, "GET /api/v1/repos/other/site", "GET /api/v1/orgs/other/repos", "GET /api/v1/users/other", "GET "+apiRepo+"/compare/main...other:x", "GET /api/v1/user/repos")
	for _, deny := range []policy.Cover{{Rule: "no-secret", Repositories: []string{"acme/secret"}}, {Rule: "no-secret", Repositories: []string{"acme/s*t"}}} {
		for _, grant := range []policy.Cover{{}, {Owners: []string{"acme", "other"}}} {
			g := limited(t, grant, deny)
			g.judgeAll(t, "", "GET "+apiRepo, "GET /api/v1/repos/other/secret", "GET /api/v1/orgs/acme", "GET /api/v1/orgs/other/repos", "GET "+apiRepo+"/compare/main...other:x")
			g.judgeAll(t, control.ReasonPolicy, "GET "+apiSecret, "GET "+apiSecret+".git", "GET /api/v1/repos/acme/SECRET/contents/x", "GET /acme/secret.rss/raw/x", "GET /acme/secret.wiki/raw/x",
				"GET /api/v1/orgs/acme/repos", "GET /api/v1/users/acme/repos", "GET /api/v1/packages/acme", "GET "+apiRepo+"/compare/main...acme:x", "GET /api/v1/user/repos", "GET /attachments/0-0", "DELETE /api/v1/orgs/acme")
		}
	}
	g = limited(t, policy.Cover{}, policy.Cover{Rule: "look", WritesOnly: true, Owners: []string{"acme"}})
	g.judgeAll(t, "", "GET "+apiRepo, "HEAD "+apiRepo, "POST /api/v1/repos/other/x/issues", "GET /api/v1/user/repos")
	g.judgeAll(t, control.ReasonPolicy, "POST "+apiRepo+"/issues", "DELETE "+apiRepo, "PUT "+apiRepo+"/topics", "PATCH "+apiRepo+"/issues/1", "PUT /api/v1/notifications")
}

// Tools are held by what they ask: a route passes for a tool that may use it.
func TestGrantedTools(t *testing.T) {
	g := limited(t, policy.Cover{Tools: []string{"list_repo_issues", "search_issues", "create_issue"}})
	g.judgeAll(t, "", "GET /api/v1/version", "GET "+apiRepo+"/issues", "HEAD "+apiRepo+"/issues", "GET /api/v1/repos/issues/search", "POST "+apiRepo+"/issues")
	g.judgeAll(t, control.ReasonPolicy, "GET "+apiRepo, "GET "+apiRepo+"/issues/1", "GET "+apiRepo+"/wiki/pages", "DELETE "+apiRepo+"/issues/1", "GET /api/v1/repos/search", "GET "+apiRepo+"/issues/pinned",
		"GET /api/v1/licenses", "GET "+apiRepo+"/topics", "POST /api/v1/markdown", "GET /api/v1/version/")
	g = limited(t, policy.Cover{Toolsets: []string{"wiki"}}, policy.Cover{Rule: "keep", Tools: []string{"delete_wiki_page"}})
	g.judgeAll(t, "", "GET "+apiRepo+"/wiki/pages", "POST "+apiRepo+"/wiki/new", "PATCH "+apiRepo+"/wiki/page/x%2Fy")
	g.judgeAll(t, control.ReasonPolicy, "DELETE "+apiRepo+"/wiki/page/x", "GET "+apiRepo+"/issues")
	g = limited(t, policy.Cover{ReadOnly: true})
	g.judgeAll(t, "", "GET "+apiRepo+"/issues")
	g.judgeAll(t, control.ReasonPolicy, "POST "+apiRepo+"/issues")
	// closed routes stay closed, and the stronger reason is told
	g = limited(t, policy.Cover{})
	g.judgeAll(t, control.ReasonDeniedPath, "GET /api/v1/user/keys", "POST "+apiRepo+"/hooks")
	g.SetMode(control.ModeReadOnly, policy.Nothing.JSON())
	g.judgeAll(t, control.ReasonPolicy, "POST "+apiRepo+"/issues", "GET "+apiRepo, "GET /api/v1/version", "GET /api/v1/user")
	g.SetMode(control.ModeReadOnly, policy.Limits{{Grants: []policy.Cover{{}}}}.JSON())
	g.judgeAll(t, control.ReasonReadOnly, "POST "+apiRepo+"/issues")
}

// A body may name another repository, in any of the ways in which a forge reads JSON.
func TestRepositoriesInBodies(t *testing.T) {
	g := limited(t, policy.Cover{Repositories: []string{"acme/site", "acme/docs-*"}})
	const pulls, deps, blocks, forks = "POST " + apiRepo + "/pulls", "POST " + apiRepo + "/issues/1/dependencies", "DELETE " + apiRepo + "/issues/1/blocks", "POST " + apiRepo + "/forks"
	for _, c := range []struct{ request, body string }{
		{pulls, `{"head":"feature/x","base":"main","body":"head: other:x"}`},
		{pulls, `{"head":"acme/docs-x:main","base":"main"}`},
		{pulls, `{"head":null,"base":"a:b"}`},
		{pulls, `{"base":{"head":"other:x"},"list":[{"head":"other:x"}]}`},
		{deps, `{"index":2,"owner":"acme","repo":"site"}`},
		{deps, ` {"index":2,"owner":"Acme","repo":"SITE","x":null} `},
		{blocks, `{"index":2,"owner":"acme","repo":"docs-1"}`},
		{"PATCH " + apiRepo + "/pulls/1", `{"head":"other:x","owner":"other"}`}, // has no such field
		{"POST " + apiRepo + "/issues", `{"owner":"other","repo":"secret","owner":"x"}`},
	} {
		g.judge(t, "", c.request, c.body)
		if len(g.reached) == 1 && g.body != c.body {
			t.Errorf("%s %s reached the forge as %s", c.request, c.body, g.body)
		}
	}
	for _, c := range []struct{ request, body string }{
		{pulls, `{"head":"other:x"}`}, {pulls, `{"head":"acme:x"}`}, {pulls, `{"head":"acme/secret:x"}`}, {pulls, `{"head":"other/site:x"}`}, {pulls, `{"head":"acme/site/x:y"}`}, {pulls, `{"head":":x"}`},
		{pulls, `{"HEAD":"other:x"}`}, {pulls, `{"Head":"other:x"}`}, {pulls, `{"\u0068ead":"other:x"}`}, {pulls, `{"head":"other\u003ax"}`}, {pulls, `{"h_ead":"other:x"}`}, {pulls, `{"head":["other:x"]}`}, {pulls, `{"head":7}`},
		{pulls, `{"head":" acme/site:x"}`}, {pulls, `{"head":"acme/s` + "\u0131" + `te:x"}`},
		{deps, `{"owner":"acme","repo":"secret"}`}, {deps, `{"owner":"other","repo":"site"}`}, {deps, `{"owner":"other"}`}, {deps, `{"repo":"site"}`}, {deps, `{}`}, {deps, ``}, {deps, `{"Owner":"acme","REPO":"secret"}`},
		{deps, `{"owner":"acme","\u0072epo":"secret"}`}, {deps, `{"owner":"acme","re\u2010po":"site","repo":"secret"}`}, {deps, `{"owner":"acme","repo":{"x":"site"}}`}, {deps, `{"owner":"acme","repo":"site/../secret"}`},
		{blocks, `{"owner":"acme","repo":"secret"}`}, {blocks, ``},
		{forks, ``}, {forks, `{}`}, {forks, `{"name":"docs-x"}`}, {forks, `{"organization":"acme","name":"docs-x"}`}, {forks, `{"organization":"other"}`}, {forks, `{"organization":null}`}, {forks, `{"organization":""}`},
		{"POST /api/v1/orgs", `{"username":"new"}`}, {"POST /api/v1/orgs/acme/repos", `{"name":"docs-new"}`}, {"POST /api/v1/user/repos", `{"name":"docs-new"}`},
	} {
		g.judge(t, control.ReasonPolicy, c.request, c.body)
	}
	for _, body := range []string{
		`{"head":"x","head":"other:x"}`, `{"head":"other:x","head":"x"}`, `{"head":"x","HEAD":"other:x"}`, `{"head":"x","\u0048ead":"other:x"}`, `{"he_ad":"x","head":"y"}`, `{"head":"x"}{"head":"other:x"}`, `{"head":"x"} x`,
		`[{"head":"other:x"}]`, `"x"`, `null`, `{"head":"x"`, `{"head":"x",}`, `{head:"x"}`, `{'head':'x'}`, "\ufeff" + `{"head":"x"}`, `/**/{"head":"x"}`, "\x00", `{"x":"` + strings.Repeat("x", maxNaming) + `","head":"other:x"}`,
	} {
		g.judge(t, control.ReasonDeniedRequest, pulls, body)
	}
	// A forge may take the query for a body that is not there.
	for _, request := range []string{"DELETE " + apiRepo + "/issues/1/dependencies?owner=acme&name=secret&index=1", "DELETE " + apiRepo + "/issues/1/dependencies?", "POST " + apiRepo + "/pulls?head=other:x"} {
		reason := control.ReasonDeniedRequest
		if strings.HasSuffix(request, "?") {
			reason = control.ReasonPolicy
		}
		method, path, _ := strings.Cut(request, " ")
		g.want(t, reason, method, "/git"+path, "", "")
	}
	for _, header := range []string{
		"", "Content-Type: application/x-www-form-urlencoded\r\n", "Content-Type: multipart/form-data; boundary=B\r\n", jsonHeader + "Content-Encoding: gzip\r\n", jsonHeader + "Content-Type: text/plain\r\n", "Content-Type: text/plain\r\n",
	} {
		g.want(t, control.ReasonDeniedRequest, "POST", "/git"+apiRepo+"/pulls", header, `{"head":"x"}`)
	}
	// An upload names nothing, and needs its repository.
	form, part := "Content-Type: multipart/form-data; boundary=B\r\n", "--B\r\nContent-Disposition: form-data; name=\"attachment\"; filename=\"x\"\r\n\r\nowner=other\r\n--B--\r\n"
	g.want(t, "", "POST", "/git"+apiRepo+"/issues/1/assets?name=x", form, part)
	g.want(t, control.ReasonPolicy, "POST", "/git"+apiSecret+"/issues/1/assets?name=acme/site", form, part)

	g = limited(t, policy.Cover{Owners: []string{"acme", "new"}}, policy.Cover{Rule: "no-secret", Repositories: []string{"acme/secret"}})
	g.judge(t, "", forks, `{"organization":"new"}`)
	g.judge(t, "", "POST /api/v1/orgs", `{"username":"New"}`)
	g.judge(t, "", "POST /api/v1/orgs/acme/repos", `{"name":"x"}`)
	g.judge(t, control.ReasonPolicy, "POST /api/v1/orgs/acme/repos", `{"name":"Secret"}`)
	g.judge(t, control.ReasonPolicy, forks, `{"organization":"acme","name":"secret"}`)
	g.judge(t, control.ReasonPolicy, pulls, `{"head":"acme:x"}`)
	// Where no rule is about repositories, nobody looks.
	g = limited(t, policy.Cover{Toolsets: []string{"pull_requests", "repositories"}})
	g.judge(t, "", pulls, `{"head":"x","HEAD":"other:x"}`)
	g.judge(t, "", forks, ``)
}

// A redirect goes to the backend, whose next request is judged as any other. So a repository
// that was renamed or transferred is one of its new name.
func TestRedirectsAreJudgedAnew(t *testing.T) {
	var reached []string
	p := newProxy(t, "", "t", func(w http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.URL.Path)
		if r.URL.Path == "/git"+apiRepo {
			http.Redirect(w, r, "/git"+apiSecret, http.StatusTemporaryRedirect)
		}
	}, nil)
	p.SetMode(control.ModeReadWrite, policy.Limits{{Grants: []policy.Cover{{Repositories: []string{"acme/site"}}}}}.JSON())
	g := &guardedForge{Proxy: p}
	for _, method := range []string{"GET", "PATCH"} {
		reached = nil
		status, _ := g.send(t, method, "/git"+apiRepo, "", "")
		if method == "PATCH" { // the route is closed
			continue
		}
		if status != http.StatusTemporaryRedirect || len(reached) != 1 {
			t.Errorf("%s: got %d; the forge saw %q", method, status, reached)
		}
		if status, answer := g.send(t, method, "/git"+apiSecret, "", ""); status != http.StatusForbidden || len(reached) != 1 {
			t.Errorf("%s: got %d %s; the forge saw %q", method, status, answer, reached)
		}
	}
}

// The texts name the rule and say what to do in place of what was refused.
func TestRefusalsOfThePolicySayWhatToDo(t *testing.T) {
	site := policy.Cover{Repositories: []string{"acme/site"}}
	for _, tt := range []struct {
		grant      policy.Cover
		denials    []policy.Cover
		path, rule string
		want       []string
	}{
		{site, nil, "/api/v1/repos/issues/search", "", []string{"no rule of this server's policy allows this", "name one", "list_repo_issues", "nothing was sent"}},
		{site, nil, "/api/v1/notifications", "", []string{"list_repo_notifications"}},
		{site, nil, "/api/v1/orgs/acme/labels", "", []string{"include_org_labels"}},
		{site, nil, "/attachments/0-0", "", []string{"cannot be downloaded"}},
		{site, nil, apiSecret, "", []string{"only some repositories may be used here"}},
		{policy.Cover{}, []policy.Cover{{Rule: "no-wiki", Toolsets: []string{"wiki"}}}, apiRepo + "/wiki/pages", "no-wiki", []string{`rule "no-wiki" of this server's policy forbids this`}},
		{policy.Cover{}, []policy.Cover{{Rule: "no-secret", Repositories: []string{"acme/secret"}}}, "/api/v1/user/repos", "no-secret", []string{"no-secret", "name one"}},
		{policy.Cover{Tools: []string{"create_issue"}}, nil, apiRepo + "/wiki/pages", "", []string{"no rule of this server's policy allows this; nothing"}},
	} {
		var told Refusal
		p := newProxy(t, "", "t", func(http.ResponseWriter, *http.Request) { t.Error("it reached the forge") }, func(r Refusal) { told = r })
		p.SetMode(control.ModeReadWrite, policy.Limits{{Grants: []policy.Cover{tt.grant}, Denials: tt.denials}}.JSON())
		_, answer := (&guardedForge{Proxy: p}).send(t, "GET", "/git"+tt.path, "", "")
		var message struct{ Message string }
		if json.Unmarshal([]byte(answer), &message) != nil || message.Message != "fjmcp "+told.ID+": "+told.Text || told.Reason != control.ReasonPolicy || told.Rule != tt.rule {
			t.Errorf("%s: reported %+v, answered %s", tt.path, told, answer)
		}
		for _, words := range tt.want {
			if !strings.Contains(told.Text, words) {
				t.Errorf("%s: %q does not say %q", tt.path, told.Text, words)
			}
		}
	}
}

// What the broker says of limits and cannot be read allows nothing, and is not taken for no
// policy.
func TestUnreadableLimitsAllowNothing(t *testing.T) {
	g := newGuarded(t, "")
	for _, limits := range []string{
		"null", "{}", `""`, "0", "[", "[{}", `[{"grants":[{}]},null`, `[{"grants":[{}],"until":"x"}]`, `[{"grants":[{"paths":["x"]}]}]`, `[{"grants":[{"tools":"x"}]}]`, `[{"grants":[{}]}][]`, "[" + strings.Repeat(" ", policy.MaxWire) + "]",
	} {
		g.SetMode(control.ModeReadWrite, nil)
		g.judge(t, "", "GET "+apiRepo, "")
		if key := g.SetMode(control.ModeReadWrite, []byte(limits)); key != policy.Nothing.Key() || key == "" {
			t.Errorf("%.60s is in force as %q", limits, key)
		}
		g.judgeAll(t, control.ReasonPolicy, "GET "+apiRepo, "POST "+apiRepo+"/issues", "GET /api/v1/version")
	}
	if key := g.SetMode(control.ModeReadWrite, []byte("[]")); key != "" {
		t.Errorf("no policy is in force as %q", key)
	}
	g.judge(t, "", "POST "+apiRepo+"/issues", "{}")
}

// BenchmarkAdmit is what a request costs, without a policy and with covers of which the last
// one allows it.
func BenchmarkAdmit(b *testing.B) {
	for _, covers := range []int{0, 10, 200} {
		b.Run(fmt.Sprint(covers), func(b *testing.B) {
			var l policy.Limits
			if covers > 0 {
				l = policy.Limits{{}}
			}
			for i := range covers {
				l[0].Grants = append(l[0].Grants, policy.Cover{Toolsets: []string{"issues"}, Repositories: []string{fmt.Sprintf("acme/site-%d", i)}})
			}
			f, err := newForce(control.ModeReadWrite, l.JSON())
			if err != nil {
				b.Fatal(err)
			}
			s := &rules{}
			s.force.Store(f)
			path := fmt.Sprintf("/api/v1/repos/acme/site-%d/issues/17/comments", max(0, covers-1))
			r, err := http.NewRequest("GET", "http://forge"+path, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Body = io.NopCloser(strings.NewReader(""))
			for b.Loop() {
				if err := s.admit(r, path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
