package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

const explained = `
[[grant]]
name = "reading"
everyone = true
access = "read"
[[grant]]
name = "developers"
teams = ["acme/dev", "other/dev#5"]
users = ["alice#7"]
access = "write"
owners = ["acme"]
[[grant]]
name = "issues"
users = ["alice"]
access = "write"
toolsets = ["issues"]
repositories = ["other/site"]
[[deny]]
name = "no-secret"
users = ["alice"]
repositories = ["acme/secret"]
[[deny]]
name = "no-wiki-writing"
everyone = true
access = "write"
toolsets = ["wiki"]
[[grant]]
name = "bobs"
users = ["bob"]
access = "write"
`

func TestExplain(t *testing.T) {
	doc, err := Parse([]byte(explained))
	if err != nil {
		t.Fatal(err)
	}
	rules := doc.Compile(map[Subject]int64{{User, "alice", 0}: 7, {Team, "acme/dev", 0}: 3, {User, "bob", 0}: 8})
	alice := Member{ID: 7, Known: true, Teams: []int64{3, 5}}
	for _, c := range []struct {
		q    Question
		want string // of each rule its name, what it does not cover, ! if it decides
	}{
		{Question{"list_repo_issues", "acme/site"}, "yes: reading! developers! issues-place no-secret-place no-wiki-writing-access-tool"},
		{Question{"create_issue", "Acme/Site"}, "yes: reading-access developers! issues-place no-secret-place no-wiki-writing-tool"},
		{Question{"create_issue", "third/site"}, "no: reading-access developers-place issues-place no-secret-place no-wiki-writing-tool"},
		{Question{"create_issue", "other/site"}, "yes: reading-access developers-place issues! no-secret-place no-wiki-writing-tool"},
		{Question{"create_wiki_page", "acme/site"}, "no-wiki-writing: reading-access developers issues-tool-place no-secret-place no-wiki-writing!"},
		{Question{"list_wiki_pages", "acme/secret"}, "no-secret: reading developers issues-tool-place no-secret! no-wiki-writing-access"},
		{Question{"create_wiki_page", ""}, "no-wiki-writing: reading-access developers issues-tool no-secret-place no-wiki-writing!"},
		{Question{"", ""}, "yes: reading! developers! issues! no-secret-place no-wiki-writing-access-tool"},
		{Question{"", "acme/secret"}, "no-secret: reading developers issues-place no-secret! no-wiki-writing-access-tool"},
		{Question{"search_issues", ""}, "no-secret: reading developers-place issues-place no-secret! no-wiki-writing-access-tool"},
		{Question{"invented", "acme/site"}, "no-wiki-writing: reading-access developers issues-tool-place no-secret-place no-wiki-writing!"},
	} {
		e, err := rules.Explain(alice, c.q)
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(e); got != c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.q, got, c.want)
		}
	}
	e, _ := rules.Explain(alice, Question{})
	if got := e.Rules[1].By; !slices.Equal(got, []string{"user alice#7", "team acme/dev", "team other/dev#5"}) {
		t.Errorf("got %q", got)
	}
	if e, _ := rules.Explain(Member{ID: 7, Teams: []int64{3}}, Question{}); !slices.Equal(e.Rules[1].By, []string{"user alice#7"}) {
		t.Errorf("membership that is not known: got %q", e.Rules[1].By)
	}
}

func shown(e Explanation) string {
	text := "no"
	if e.Allowed {
		text = "yes"
	} else if e.Rule != "" {
		text = e.Rule
	}
	text += ":"
	for _, m := range e.Rules {
		text += " " + m.Name
		for i, covered := range []bool{m.Access, m.Tool, m.Place} {
			if !covered {
				text += []string{"-access", "-tool", "-place"}[i]
			}
		}
		if m.Decides {
			text += "!"
		}
	}
	return text
}

// TestExplanationIsTheDecision: it is what Limits decide, and what decides is there.
func TestExplanationIsTheDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, m := drawDocument(t), drawMember(t)
		q := Question{
			Tool:       rapid.SampledFrom(append([]string{"", "invented"}, ruleTools...)).Draw(t, "tool"),
			Repository: rapid.SampledFrom([]string{"", "acme/site", "Acme/Docs", "other/a-b", "third/x"}).Draw(t, "repository"),
		}
		e, err := d.Compile(ids).Explain(m, q)
		if err != nil {
			t.Fatal(err)
		}
		limits := Limits{mustFor(t, d, m)}
		switch tool, known := forgeapi.ToolNamed(q.Tool); {
		case q.Tool != "" && q.Repository != "":
			request := Request{Write: !tool.Reads(), Across: tool.Across(), Routes: []forgeapi.Route{{Tools: []string{q.Tool}}}, Repositories: []string{q.Repository}}
			if got := limits.Request(request); got != e.Verdict {
				t.Fatalf("got %+v, want %+v", e.Verdict, got)
			}
		case known:
			if got := limits.Tool(tool); got != e.Verdict {
				t.Fatalf("got %+v, want %+v", e.Verdict, got)
			}
		case q == Question{}:
			if got := limits.Connect(); got != e.Verdict {
				t.Fatalf("got %+v, want %+v", e.Verdict, got)
			}
		}
		var mine []string
		decides := 0
		for _, match := range e.Rules {
			mine = append(mine, match.Name)
			if match.Decides {
				decides++
				if match.Deny == e.Allowed || !match.Covers() {
					t.Fatalf("%s decides that it is %+v", match.Name, e.Verdict)
				}
			}
		}
		var want []string
		for _, r := range d.Rules {
			if (naive{m: m}).is(r) {
				want = append(want, r.Name)
			}
		}
		if fmt.Sprint(mine) != fmt.Sprint(want) {
			t.Fatalf("got rules %v, want %v", mine, want)
		}
		if e.Allowed && decides == 0 {
			t.Fatalf("allowed by none of %s", strings.Join(mine, ", "))
		}
	})
}
