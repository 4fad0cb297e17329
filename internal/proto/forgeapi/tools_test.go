package forgeapi

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestToolTable(t *testing.T) {
	title := regexp.MustCompile(`^[A-Z][A-Za-z' -]{3,44}$`)
	lines := strings.Count(toolTable, "\n")
	if len(AllTools()) != lines || strings.Count(toolTable, "\t") != 4*lines {
		t.Fatalf("%d lines of %d fields make %d tools", lines, strings.Count(toolTable, "\t")+lines, len(AllTools()))
	}
	names, titles := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(toolTable) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if names[f[0]] || titles[f[1]] || !title.MatchString(f[1]) || !slices.Contains([]string{"reads", "changes", "destroys"}, f[3]) || f[4] != "idempotent" && f[4] != "-" {
			t.Errorf("faulty line: %q", line)
		}
		names[f[0]], titles[f[1]] = true, true
	}
	want := []string{"repositories", "files", "issues", "pull_requests", "reviews", "releases", "wiki", "notifications", "actions", "organizations", "users", "administration"}
	if got := Toolsets(); !slices.Equal(got, want) {
		t.Errorf("got the toolsets %q, want %q", got, want)
	}
	order := func(a, b Tool) int {
		kind := func(t Tool) string { return map[bool]string{true: "template ", false: "tool "}[t.IsTemplate()] }
		if d := slices.Index(want, a.Toolset) - slices.Index(want, b.Toolset); d != 0 {
			return d
		}
		return -strings.Compare(kind(a)+b.Name, kind(b)+a.Name)
	}
	if !slices.IsSortedFunc(AllTools(), order) {
		t.Error("the table is not sorted as the package's comment says")
	}
}

// So many were seen to do so at a real forge.
func TestEffectsAreCounted(t *testing.T) {
	got := map[Effect]int{}
	templates := 0
	for _, tool := range AllTools() {
		switch {
		case !tool.IsTemplate():
			got[tool.Effect]++
		case tool.Reads():
			templates++
		}
	}
	if got[EffectReads] != 67 || got[EffectChanges] != 49 || got[EffectDestroys] != 25 || templates != 17 {
		t.Errorf("got %v and %d templates", got, templates)
	}
}

// What a tool is said to do and what it asks of the forge are of one mind.
func TestEffectsFollowRoutes(t *testing.T) {
	for _, tool := range AllTools() {
		var methods []string
		for _, r := range tool.Routes() {
			methods = append(methods, r.Method)
		}
		slices.Sort(methods)
		methods = slices.Compact(methods)
		switch {
		case len(methods) == 0:
			if tool.Name != "get_forgejo_mcp_server_version" { // which asks the forge nothing
				t.Errorf("%s is at no route", tool.Name)
			}
		case tool.Reads() != slices.Equal(methods, []string{"GET"}), tool.Effect != EffectChanges && !tool.Idempotent:
			t.Errorf("%s %s, idempotent %v, with %q", tool.Name, tool.Effect, tool.Idempotent, methods)
		// A merge cannot be taken back, and may delete the branch.
		case (tool.Effect == EffectDestroys) != (slices.Contains(methods, "DELETE") || tool.Name == "merge_pull_request"):
			t.Errorf("%s %s, with %q", tool.Name, tool.Effect, methods)
		case !tool.Reads() && !tool.Idempotent && slices.ContainsFunc(methods, func(m string) bool { return m == "PUT" || m == "DELETE" }):
			t.Errorf("%s is not idempotent, with %q", tool.Name, methods)
		}
	}
	for _, r := range Routes() {
		for _, name := range r.Tools {
			if _, ok := ToolNamed(name); !ok {
				t.Errorf("%s %s is used by %s, which is in no table", r.Method, r.Path, name)
			}
		}
	}
}

func TestToolNamed(t *testing.T) {
	want := Tool{Name: "update_wiki_page", Title: "Change a wiki page", Toolset: "wiki", Effect: EffectChanges}
	if got, ok := ToolNamed("update_wiki_page"); !ok || got != want || got.IsTemplate() || got.Reads() {
		t.Errorf("got %+v, %v", got, ok)
	}
	got := want.Routes()
	if len(got) != 2 || got[0].Method != "GET" || got[1].Method != "PATCH" || got[1].Path != "/api/v1/repos/{owner}/{repo}/wiki/page/{pageName...}" {
		t.Errorf("it asks %+v", got)
	}
	for _, name := range []string{"", "Update_wiki_page", "update_wiki_page ", "forgejo://repo/a/b", "wiki"} {
		if got, ok := ToolNamed(name); ok {
			t.Errorf("%q is %+v", name, got)
		}
	}
}

func TestTemplateOf(t *testing.T) {
	const repo, template = "forgejo://repo/alice/hello", "forgejo://repo/{owner}/{repo}"
	for uri, want := range map[string]string{
		repo:                           template,
		repo + "/wiki/Guides%2FSetup":  template + "/wiki/{pageName}",
		repo + "/issues":               template + "/issues{?state,labels,page,limit}",
		repo + "/issues?state=all":     template + "/issues{?state,labels,page,limit}",
		repo + "/issues?":              template + "/issues{?state,labels,page,limit}",
		repo + "/pr/7/comments?page=2": template + "/{kind}/{index}/comments{?page,limit}",
		repo + "/issue/7/comment/8":    template + "/{kind}/{index}/comment/{id}",
		"forgejo://owner/a-b_c.d~e,f":  "forgejo://owner/{owner}",
		"forgejo://org/acme/labels":    "forgejo://org/{org}/labels{?page,limit}",
		// near by
		"": "", "list_my_repos": "", template: "", "forgejo://": "", "forgejo://repo": "", "forgejo://repo/alice": "", "forgejo://repo/alice/": "", "forgejo://repo//hello": "",
		repo + "/": "", repo + "?x": "", repo + "#x": "", repo + "/wiki/Guides/Setup": "", repo + "/wiki/": "", repo + "/wiki/a?b=c": "", repo + "/wiki/a%2": "", repo + "/wiki/%%414": "",
		"FORGEJO://repo/alice/hello": "", "forgejo://REPO/alice/hello": "", "https://repo/alice/hello": "", " " + repo: "", repo + "\n": "", repo + "/issues/7": "", repo + "/Issues": "",
		repo + "/issues#?x": "", "forgejo://repo/alice%2Fhello": "", "forgejo://repo:80/alice/hello": "", "forgejo://u@repo/alice/hello": "", "forgejo:/repo/alice/hello": "",
	} {
		got, ok := TemplateOf(uri)
		if got.Name != want || ok != (want != "") {
			t.Errorf("%q is of %q, %v, want %q", uri, got.Name, ok, want)
		}
	}
}

// TemplateOf reads templates of no other form than these, and tells each from the others.
func TestTemplatesAreSimple(t *testing.T) {
	form := regexp.MustCompile(`^forgejo:/(/[a-z_]+|/\{[A-Za-z]+\})+(\{\?[a-z,]+\})?$`)
	query, variable := regexp.MustCompile(`\{\?.*`), regexp.MustCompile(`\{[a-zA-Z]+\}`)
	for _, tool := range AllTools() {
		if !tool.IsTemplate() {
			continue
		}
		uri := variable.ReplaceAllString(query.ReplaceAllString(tool.Name, ""), "x")
		if got, ok := TemplateOf(uri); !ok || got != tool || !form.MatchString(tool.Name) {
			t.Errorf("%s has another form, or that of %q", tool.Name, got.Name)
		}
	}
}

// docs/tools.md lists the table.
func TestDocsOfTools(t *testing.T) {
	page, err := os.ReadFile("../../../docs/tools.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, set := range Toolsets() {
		fmt.Fprintf(&want, "\n### %s\n\n| tool or resource | what it does | effect | needs |\n|---|---|---|---|\n", set)
		for _, tool := range AllTools() {
			if tool.Toolset == set {
				fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", tool.Name, tool.Title, effect(tool), needs(tool))
			}
		}
		if !regexp.MustCompile("(?m)^\\| `" + set + "` \\| [a-zA-Z]").Match(page) {
			t.Errorf("docs/tools.md does not say what %s is", set)
		}
	}
	if !strings.HasSuffix(string(page), want.String()) {
		t.Errorf("docs/tools.md is to end with\n%s", want.String())
	}
}

func effect(tool Tool) string {
	if tool.Effect == EffectChanges && tool.Idempotent {
		return "changes, idempotent"
	}
	return string(tool.Effect)
}

// needs is what the operator has to open for the tool.
func needs(tool Tool) string {
	var words []string
	for _, r := range tool.Routes() {
		if word := "`open:" + r.Class + "`"; !r.Open && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, ", ")
}

// A tool whose changes are all made by routes of others' is not held apart from these by a
// rule about tools. docs/policy.md names all there are.
func TestToolsThatShareTheirRoutes(t *testing.T) {
	var shared []string
	for _, tool := range AllTools() {
		changes := slices.DeleteFunc(slices.Clone(tool.Routes()), func(r Route) bool { return r.Method == "GET" })
		if len(changes) > 0 && !slices.ContainsFunc(changes, func(r Route) bool { return len(r.Tools) == 1 }) {
			shared = append(shared, tool.Name)
		}
	}
	slices.Sort(shared)
	if want := []string{"issue_state_change", "update_issue"}; !slices.Equal(shared, want) {
		t.Errorf("got %q, docs/policy.md says %q", shared, want)
	}
}
