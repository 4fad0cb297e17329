package policy

import (
	"encoding/json"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

func tool(t *testing.T, name string) forgeapi.Tool {
	t.Helper()
	found, ok := forgeapi.ToolNamed(name)
	if !ok {
		t.Fatalf("no tool %s", name)
	}
	return found
}

// TestRulesCombine tries what the combined rules of one user say, one thing each.
func TestRulesCombine(t *testing.T) {
	doc := &Document{Rules: []Rule{
		{Name: "all", Everyone: true, ReadOnly: true},
		{Name: "issues", Users: []Name{{"alice", 0}}, Toolsets: []string{"issues"}, Repositories: []string{"acme/docs-*"}},
		{Name: "own", Teams: []Name{{"acme/dev", 9}}, Owners: []string{"acme"}},
		{Name: "no-wiki", Deny: true, Everyone: true, Toolsets: []string{"wiki"}},
		{Name: "no-secret", Deny: true, Users: []Name{{"alice", 0}}, Repositories: []string{"acme/secret"}},
		{Name: "bob-reads", Deny: true, Users: []Name{{"bob", 8}}, WritesOnly: true},
	}}
	rules := doc.Compile(map[Subject]int64{{User, "alice", 0}: 7})
	alice, dev := Member{ID: 7}, Member{ID: 7, Known: true, Teams: []int64{9}}
	bob := Member{ID: 8, Known: true, Teams: []int64{9}}
	unasked := Member{ID: 7, Teams: []int64{9}}
	for _, c := range []struct {
		name  string
		m     Member
		tool  string
		write bool
		repo  string
		want  Verdict
	}{
		{"read anything", alice, "list_repo_issues", false, "other/thing", Verdict{true, ""}},
		{"write what is granted", alice, "create_issue", true, "Acme/Docs-One", Verdict{true, ""}},
		{"write elsewhere", alice, "create_issue", true, "acme/site", Verdict{false, ""}},
		{"write with another tool", alice, "create_release", true, "acme/docs-one", Verdict{false, ""}},
		{"deny a toolset", alice, "list_wiki_pages", false, "acme/docs-one", Verdict{false, "no-wiki"}},
		{"deny a repository", alice, "list_repo_issues", false, "acme/secret", Verdict{false, "no-secret"}},
		{"by team", dev, "create_release", true, "acme/site", Verdict{true, ""}},
		{"by team, not asked", unasked, "create_release", true, "acme/site", Verdict{false, ""}},
		{"deny writing", bob, "create_release", true, "acme/site", Verdict{false, "bob-reads"}},
		{"deny writing only", bob, "list_repo_issues", false, "acme/site", Verdict{true, ""}},
	} {
		rights, err := rules.For(c.m)
		if err != nil {
			t.Fatal(err)
		}
		route := forgeapi.Route{Tools: []string{tool(t, c.tool).Name}}
		if got := (Limits{rights}).Request(Request{Write: c.write, Routes: []forgeapi.Route{route}, Repositories: []string{c.repo}}); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestNoPolicyAllowsEverything(t *testing.T) {
	var l Limits
	if !l.Connect().Allowed || !l.Unknown("x").Allowed || l.ReadOnly() || l.Key() != "" ||
		!l.Request(Request{Write: true, Across: true}).Allowed || !l.Tool(tool(t, "delete_branch")).Allowed {
		t.Error("something is limited without a policy")
	}
}

func TestEmptyRightsAllowNothing(t *testing.T) {
	l := Limits{{}}
	if l.Connect().Allowed || l.Unknown("x").Allowed || !l.ReadOnly() || l.Key() == "" ||
		l.Request(Request{}).Allowed || l.Tool(tool(t, "list_branches")).Allowed {
		t.Error("empty rights allow something")
	}
}

// TestWhatCannotBeTold: several repositories, malformed ones and unknown tools are allowed
// where nothing of the kind is limited, and denied where any is.
func TestWhatCannotBeTold(t *testing.T) {
	all, some := Cover{}, Cover{Repositories: []string{"acme/site"}, Tools: []string{"list_branches"}}
	denies := func(c Cover) Cover { c.Rule = "no"; return c }
	across := Request{Routes: []forgeapi.Route{{Tools: []string{"list_branches"}}}, Across: true}
	malformed := Request{Routes: across.Routes, Repositories: []string{"acme"}}
	pseudo := Request{Routes: []forgeapi.Route{{}}, Repositories: []string{"acme/site"}}
	nowhere := Request{Routes: nil, Repositories: []string{"acme/site"}}
	for _, repo := range []string{"acme/", "/site", "acme/site/x", "acme/site/"} {
		q := Request{Routes: across.Routes, Repositories: []string{repo}}
		if got := (Limits{{Grants: []Cover{{Owners: []string{"acme", ""}, Repositories: []string{"acme/*"}}}}}).Request(q); got.Allowed {
			t.Errorf("%q is allowed", repo)
		}
	}
	for _, q := range []Request{across, malformed, pseudo, nowhere} {
		for _, c := range []struct {
			rights Rights
			want   Verdict
		}{
			{Rights{Grants: []Cover{all}}, Verdict{true, ""}},
			{Rights{Grants: []Cover{some}}, Verdict{}},
			{Rights{Grants: []Cover{some, all}}, Verdict{true, ""}},
			{Rights{Grants: []Cover{all}, Denials: []Cover{denies(some)}}, Verdict{false, "no"}},
		} {
			if got := (Limits{c.rights}).Request(q); got != c.want {
				t.Errorf("%+v under %+v: got %+v, want %+v", q, c.rights, got, c.want)
			}
		}
	}
}

func TestRightsSurviveJSON(t *testing.T) {
	l := Limits{{Grants: []Cover{{ReadOnly: true, Toolsets: []string{"issues"}, Owners: []string{"acme"}}}, Denials: []Cover{{Rule: "x", WritesOnly: true}}}, {}}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var back Limits
	if err := json.Unmarshal(text, &back); err != nil || back.Key() != l.Key() || back[0].Denials[0].Rule != "x" {
		t.Errorf("%s becomes %+v (%v)", text, back, err)
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"a/site", []string{"a/site"}, []string{"a/sit", "a/site2", "b/site"}},
		{"a/*", []string{"a/x", "a/site.x"}, []string{"b/x", "aa/x"}},
		{"a/s*", []string{"a/s", "a/site"}, []string{"a/as", "a/"}},
		{"a/*e", []string{"a/e", "a/site", "a/ee"}, []string{"a/sites", "a/x"}},
		{"a/s*t*e", []string{"a/ste", "a/site", "a/sttee", "a/stxexe"}, []string{"a/st", "a/se", "a/site2", "a/stex"}},
		{"a/*ab", []string{"a/ab", "a/aab", "a/abab"}, []string{"a/aba", "a/b"}},
	} {
		for _, s := range c.yes {
			if !glob(c.pattern, s) {
				t.Errorf("%s does not match %s", c.pattern, s)
			}
		}
		for _, s := range c.no {
			if glob(c.pattern, s) {
				t.Errorf("%s matches %s", c.pattern, s)
			}
		}
	}
}

// TestToolsAcrossRepositories are not seen where repositories are limited.
func TestToolsAcrossRepositories(t *testing.T) {
	all, some := Cover{}, Cover{Owners: []string{"acme"}}
	deny := Cover{Rule: "no", Repositories: []string{"acme/secret"}}
	for _, c := range []struct {
		rights Rights
		want   Verdict
	}{
		{Rights{Grants: []Cover{all}}, Verdict{true, ""}},
		{Rights{Grants: []Cover{some}}, Verdict{}},
		{Rights{Grants: []Cover{all}, Denials: []Cover{deny}}, Verdict{false, "no"}},
	} {
		if got := (Limits{c.rights}).Tool(tool(t, "search_repos")); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.rights, got, c.want)
		}
		if got := (Limits{c.rights}).Tool(tool(t, "list_repo_issues")); !got.Allowed {
			t.Errorf("%+v: got %+v for one repository", c.rights, got)
		}
	}
}
