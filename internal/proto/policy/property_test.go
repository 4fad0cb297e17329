package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// ids are those of the subjects that rules name below, and of one whom nobody knows.
var ids = map[Subject]int64{
	{User, "alice", 0}: 1, {User, "bob", 0}: 2,
	{Organization, "acme", 0}: 1, {Organization, "other", 0}: 2,
	{Team, "acme/dev", 0}: 1, {Team, "other/dev", 0}: 2,
}

// some draws a list without repetition, often an empty one.
func some[T comparable](t *rapid.T, label string, from ...T) []T {
	if rapid.Bool().Draw(t, "without "+label) {
		return nil
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, 2, rapid.ID).Draw(t, label)
}

var ruleTools = []string{"list_repo_issues", "create_issue", "list_wiki_pages", "create_wiki_page", "forgejo://repo/{owner}/{repo}", "search_repos"}

func drawRule(t *rapid.T, i int) Rule {
	r := Rule{
		Name: fmt.Sprintf("rule-%d", i), Deny: rapid.IntRange(0, 3).Draw(t, "deny") == 0,
		Everyone:     rapid.Bool().Draw(t, "everyone"),
		Toolsets:     some(t, "toolsets", "issues", "wiki", "files"),
		Tools:        some(t, "tools", ruleTools...),
		Repositories: some(t, "repositories", "acme/site", "acme/s*", "acme/*e", "acme/*", "acme/s*t*e", "other/site", "other/*-*"),
		Owners:       some(t, "owners", "acme", "other"),
	}
	r.Users = some(t, "users", Name{"alice", 0}, Name{"bob", 0}, Name{"alice", 3}, Name{"nobody", 0})
	access := rapid.Bool().Draw(t, "narrow access")
	if r.Deny {
		r.WritesOnly = access
		return r
	}
	r.ReadOnly = access
	r.Administrators = rapid.Bool().Draw(t, "administrators")
	r.Organizations = some(t, "organizations", Name{"acme", 0}, Name{"other", 0}, Name{"x", 3})
	r.Teams = some(t, "teams", Name{"acme/dev", 0}, Name{"other/dev", 0})
	return r
}

func drawDocument(t *rapid.T) *Document {
	d := &Document{}
	for i := range rapid.IntRange(0, 6).Draw(t, "rules") {
		d.Rules = append(d.Rules, drawRule(t, i))
	}
	return d
}

func drawMember(t *rapid.T) Member {
	return Member{
		ID:            rapid.Int64Range(0, 3).Draw(t, "id"),
		Known:         rapid.IntRange(0, 3).Draw(t, "known") > 0,
		Administrator: rapid.Bool().Draw(t, "administrator"),
		Organizations: some[int64](t, "member of organizations", 1, 2, 3),
		Teams:         some[int64](t, "member of teams", 1, 2),
	}
}

func drawRequest(t *rapid.T) Request {
	q := Request{
		Write:        rapid.Bool().Draw(t, "write"),
		Repositories: some(t, "of repositories", "acme/site", "Acme/Docs", "acme/s", "other/site", "other/a-b", "third/site", "acme", "acme/*", "other/*"),
		Owners:       some(t, "of owners", "acme", "OTHER", "third"),
		Across:       rapid.IntRange(0, 5).Draw(t, "across") == 0,
	}
	for range rapid.IntRange(0, 2).Draw(t, "routes") {
		q.Routes = append(q.Routes, forgeapi.Route{Tools: some(t, "tools of route", append([]string{"create_release"}, ruleTools...)...)})
	}
	return q
}

func mustFor(t *rapid.T, d *Document, m Member) Rights {
	rights, err := d.Compile(ids).For(m)
	if err != nil {
		t.Fatal(err)
	}
	return rights
}

// naive is the language's definition once more, of rules and not of Rights, without merging
// or an index.
type naive struct {
	rules []Rule
	m     Member
}

func (n naive) is(r Rule) bool {
	in := func(kind Kind, names []Name, have ...int64) bool {
		for _, name := range names {
			id := name.ID
			if id == 0 {
				id = ids[Subject{kind, name.Text, 0}]
			}
			if id != 0 && slices.Contains(have, id) {
				return true
			}
		}
		return false
	}
	if r.Everyone || in(User, r.Users, n.m.ID) {
		return true
	}
	return n.m.Known && (r.Administrators && n.m.Administrator || in(Organization, r.Organizations, n.m.Organizations...) || in(Team, r.Teams, n.m.Teams...))
}

// covers: what is a repository, an owner, "several" or "nothing"; tool "" is unknown.
func (n naive) covers(r Rule, tool string, write bool, kind, what string) bool {
	access := !(r.ReadOnly && write) && !(r.WritesOnly && !write)
	known, _ := forgeapi.ToolNamed(tool)
	tools := len(r.Tools)+len(r.Toolsets) == 0 || slices.Contains(r.Tools, tool) || tool != "" && slices.Contains(r.Toolsets, known.Toolset) || tool == "" && r.Deny
	places := len(r.Repositories)+len(r.Owners) == 0
	what = strings.ToLower(what)
	switch kind {
	case "repository":
		oneOf := strings.HasSuffix(what, "/*") // some of that owner's
		for _, pattern := range r.Repositories {
			if oneOf && r.Deny && strings.HasPrefix(pattern, what[:len(what)-1]) {
				places = true
			}
			places = places || regexp.MustCompile("^"+strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, "[^/]*")+"$").MatchString(what)
		}
		places = places || slices.Contains(r.Owners, what[:strings.Index(what, "/")])
	case "owner":
		places = places || slices.Contains(r.Owners, what)
	case "several":
		places = places || r.Deny
	case "nothing":
		places = places || !r.Deny
	}
	return access && tools && places
}

func (n naive) allows(q Request) bool {
	routes := q.Routes
	if len(routes) == 0 {
		routes = []forgeapi.Route{{}}
	}
	for _, route := range routes {
		tools := route.Tools
		if len(tools) == 0 {
			tools = []string{""}
		}
		if !slices.ContainsFunc(tools, func(tool string) bool { return n.allowsTool(tool, q) }) {
			return false
		}
	}
	return true
}

func (n naive) allowsTool(tool string, q Request) bool {
	ok := func(kind, what string) bool {
		granted := false
		for _, r := range n.rules {
			if n.is(r) && n.covers(r, tool, q.Write, kind, what) {
				if r.Deny {
					return false
				}
				granted = true
			}
		}
		return granted
	}
	all := ok("nothing", "")
	for _, repo := range q.Repositories {
		if strings.Contains(repo, "/") {
			all = all && ok("repository", repo)
		} else {
			all = all && ok("several", "")
		}
	}
	for _, owner := range q.Owners {
		all = all && ok("owner", owner)
	}
	return all && (!q.Across || ok("several", ""))
}

func TestDecisionIsTheDefinitions(t *testing.T) {
	yes, no := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d, m := drawDocument(t), drawMember(t)
		limits := Limits{mustFor(t, d, m)}
		for range 8 {
			q := drawRequest(t)
			got, want := limits.Request(q), naive{d.Rules, m}.allows(q)
			if got.Allowed != want {
				t.Fatalf("%+v: got %+v, want %v", q, got, want)
			}
			if got.Allowed {
				yes++
			} else {
				no++
			}
		}
	})
	if yes*20 < no || no*20 < yes {
		t.Errorf("%d requests are allowed and %d refused: the sample says little", yes, no)
	}
}

// TestARefusalNamesItsRule: without that rule there is more.
func TestARefusalNamesItsRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, m, q := drawDocument(t), drawMember(t), drawRequest(t)
		v := Limits{mustFor(t, d, m)}.Request(q)
		if v.Allowed || v.Rule == "" {
			return
		}
		i := slices.IndexFunc(d.Rules, func(r Rule) bool { return r.Name == v.Rule })
		if i < 0 || !d.Rules[i].Deny || !(naive{d.Rules, m}).is(d.Rules[i]) {
			t.Fatalf("%s is no denial of the user's", v.Rule)
		}
		without := &Document{slices.Delete(slices.Clone(d.Rules), i, i+1)}
		if again := (Limits{mustFor(t, without, m)}).Request(q); again == v {
			t.Fatalf("%s is named still", v.Rule)
		}
	})
}

func TestMoreRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, m, q := drawDocument(t), drawMember(t), drawRequest(t)
		more := drawRule(t, len(d.Rules))
		before := Limits{mustFor(t, d, m)}.Request(q).Allowed
		after := Limits{mustFor(t, &Document{append(slices.Clone(d.Rules), more)}, m)}.Request(q).Allowed
		if before && !after && !more.Deny {
			t.Fatal("a grant takes something away")
		}
		if !before && after && more.Deny {
			t.Fatal("a denial gives something")
		}
	})
}

// TestLessMembership tries what a user can bring about: to leave, and that the forge cannot
// be asked.
func TestLessMembership(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, m, q := drawDocument(t), drawMember(t), drawRequest(t)
		less := m
		less.Known = less.Known && rapid.Bool().Draw(t, "still known")
		less.Administrator = less.Administrator && rapid.Bool().Draw(t, "still administrator")
		less.Organizations = less.Organizations[:rapid.IntRange(0, len(m.Organizations)).Draw(t, "organizations left")]
		less.Teams = less.Teams[:rapid.IntRange(0, len(m.Teams)).Draw(t, "teams left")]
		if (Limits{mustFor(t, d, less)}).Request(q).Allowed && !(Limits{mustFor(t, d, m)}).Request(q).Allowed {
			t.Fatal("less membership allows more")
		}
	})
}

func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, m, q := drawDocument(t), drawMember(t), drawRequest(t)
		other := &Document{rapid.Permutation(d.Rules).Draw(t, "order")}
		a, b := Limits{mustFor(t, d, m)}, Limits{mustFor(t, other, m)}
		if va, vb := a.Request(q), b.Request(q); va != vb {
			t.Fatalf("got %+v and %+v", va, vb)
		}
		if a.Key() != b.Key() {
			t.Fatalf("got %+v and %+v", a, b)
		}
	})
}

func TestLimitsAreAnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := Limits{mustFor(t, drawDocument(t), drawMember(t))}, Limits{mustFor(t, drawDocument(t), drawMember(t))}
		both := append(slices.Clone(a), b...)
		for _, tool := range forgeapi.AllTools() {
			if both.Tool(tool).Allowed != (a.Tool(tool).Allowed && b.Tool(tool).Allowed) {
				t.Fatal(tool.Name)
			}
		}
		q := drawRequest(t)
		if both.Request(q).Allowed && !(a.Request(q).Allowed && b.Request(q).Allowed) {
			t.Fatal("both allow what one does not")
		}
		q.Routes = []forgeapi.Route{{Tools: []string{rapid.SampledFrom(ruleTools).Draw(t, "one tool")}}}
		if both.Request(q).Allowed != (a.Request(q).Allowed && b.Request(q).Allowed) {
			t.Fatal("with one tool both are not what each is")
		}
	})
}

// TestNothingIsHiddenThatIsAllowed holds the views against the boundary.
func TestNothingIsHiddenThatIsAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{mustFor(t, drawDocument(t), drawMember(t))}
		q := drawRequest(t)
		v := l.Request(q)
		if !v.Allowed {
			return
		}
		if q.Write && l.ReadOnly() {
			t.Fatal("a change is allowed where there is only reading")
		}
		for _, route := range q.Routes {
			seen := len(route.Tools) == 0
			for _, name := range route.Tools {
				tool, _ := forgeapi.ToolNamed(name)
				if l.Tool(tool).Allowed && !l.Connect().Allowed {
					t.Fatalf("%s is allowed, a connection is not", name)
				}
				seen = seen || l.Tool(tool).Allowed || q.Write == tool.Reads() || tool.Across() && !q.Across
			}
			if !seen {
				t.Fatalf("%v are hidden", route.Tools)
			}
			if len(route.Tools) == 0 && q.Write && !l.Unknown("x").Allowed {
				t.Fatal("an unknown tool is hidden")
			}
		}
	})
}

func TestJSONSaysAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{mustFor(t, drawDocument(t), drawMember(t)), mustFor(t, drawDocument(t), drawMember(t))}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var back Limits
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, l) || back.Key() != l.Key() {
			t.Fatalf("%+v becomes %s, and that %+v (%v)", l, text, back, err)
		}
	})
}

// TestKeyTellsApart: Limits that decide differently have different keys.
func TestKeyTellsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMember(t)
		a, b := Limits{mustFor(t, drawDocument(t), m)}, Limits{mustFor(t, drawDocument(t), m)}
		if same := reflect.DeepEqual(a, b); same != (a.Key() == b.Key()) {
			t.Fatalf("%+v and %+v: equal is %v", a, b, same)
		}
		for range 4 {
			if q := drawRequest(t); a.Request(q) != b.Request(q) && a.Key() == b.Key() {
				t.Fatal("one key for two decisions")
			}
		}
	})
}
