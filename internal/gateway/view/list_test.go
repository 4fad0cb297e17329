package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// toolsFor is a result of tools/list as forgejo-mcp writes it, with tools of each name.
func toolsFor(names ...string) json.RawMessage {
	var tools []string
	for _, name := range names {
		tools = append(tools, fmt.Sprintf(`{"annotations":{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":false,"openWorldHint":true},"description":"%s","inputSchema":{"properties":{"owner":{"type":"string"}},"type":"object"},"name":%q}`, strings.Repeat("word ", 100), name))
	}
	return json.RawMessage(`{"tools":[` + strings.Join(tools, ",") + `]}`)
}

// forgejoTools are all tools of the table.
func forgejoTools() (names []string) {
	for _, t := range forgeapi.AllTools() {
		if !t.IsTemplate() {
			names = append(names, t.Name)
		}
	}
	return names
}

// tool is one as a client reads it.
type tool struct {
	Name, Title, Description string
	Annotations              struct {
		Title                                                        string
		ReadOnlyHint, DestructiveHint, IdempotentHint, OpenWorldHint *bool
	}
}

func read(t *testing.T, result json.RawMessage) map[string]tool {
	t.Helper()
	var list struct{ Tools []tool }
	if err := json.Unmarshal(result, &list); err != nil {
		t.Fatalf("%s: %v", result, err)
	}
	all := map[string]tool{}
	for _, one := range list.Tools {
		all[one.Name] = one
	}
	return all
}

func TestEachToolIsDescribed(t *testing.T) {
	got := read(t, NewCache().List(mcp.MethodToolsList, &Filter{}, toolsFor(append(forgejoTools(), "do_nothing")...)))
	for _, want := range forgeapi.AllTools() {
		one, ok := got[want.Name]
		switch a := one.Annotations; {
		case want.IsTemplate():
		case !ok, one.Title != want.Title, len(one.Description) != 500, a.ReadOnlyHint == nil, a.DestructiveHint == nil, a.IdempotentHint == nil, a.OpenWorldHint == nil,
			*a.ReadOnlyHint != want.Reads(), *a.DestructiveHint != (want.Effect == forgeapi.EffectDestroys), *a.IdempotentHint != want.Idempotent, *a.OpenWorldHint:
			t.Errorf("%s is listed as %+v", want.Name, one)
		}
	}
	if one := got["do_nothing"]; one.Title != "" || !*one.Annotations.DestructiveHint || !*one.Annotations.OpenWorldHint {
		t.Errorf("a tool that is not in the table is listed as %+v", one)
	}
}

func TestReadOnlyListsNoTool(t *testing.T) {
	for _, f := range []*Filter{{Reader: true}, {View: View{ReadOnly: true}}, {Limits: policy.Limits{{Grants: []policy.Cover{{ReadOnly: true}}}}}} {
		got := read(t, NewCache().List(mcp.MethodToolsList, f, toolsFor(append(forgejoTools(), "do_nothing")...)))
		want := 0
		for _, one := range forgeapi.AllTools() {
			_, listed := got[one.Name]
			if !one.IsTemplate() && listed != one.Reads() {
				t.Errorf("%+v: %s, which %s, is listed: %v", f, one.Name, one.Effect, listed)
			}
			if !one.IsTemplate() && one.Reads() {
				want++
			}
		}
		if len(got) != want || want == 0 {
			t.Errorf("%+v: %d tools are listed, want %d", f, len(got), want)
		}
	}
}

func TestLists(t *testing.T) {
	issues := View{Toolsets: []string{"issues"}}
	denied := policy.Limits{{Grants: []policy.Cover{{}}, Denials: []policy.Cover{{Rule: "no-wiki", Toolsets: []string{"wiki"}}}}}
	const wiki, issue = "forgejo://repo/{owner}/{repo}/wiki/{pageName}", "forgejo://repo/{owner}/{repo}/issue/{index}"
	for _, tc := range []struct {
		why, method  string
		filter       Filter
		result, want string
	}{
		{"pages are kept", mcp.MethodToolsList, Filter{View: issues},
			`{"tools":[{"name":"get_wiki_page"}, {"name":"x"}],"nextCursor":"b1","_meta":{"n":1.0}}`, `{"tools":[],"nextCursor":"b1","_meta":{"n":1.0}}`},
		{"a list is kept for one user only", mcp.MethodToolsList, Filter{},
			`{"resultType":"complete","cacheScope":"public","tools":[ {"name":"x"} ],"ttlMs":9}`, `{"resultType":"complete","cacheScope":"private","tools":[{"name":"x"}],"ttlMs":9}`},
		{"ours win over theirs", mcp.MethodToolsList, Filter{},
			`{"tools":[{"title":"T","name":"get_wiki_page","Annotations":{"destructiveHint":true},"annotations":null,"x":[1 ,2]}]}`,
			`{"tools":[{"title":"Read a wiki page","annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"openWorldHint":false},"name":"get_wiki_page","x":[1 ,2]}]}`},
		{"a tool is no template", mcp.MethodToolsList, Filter{View: issues}, `{"tools":[{"name":"` + issue + `"}]}`, `{"tools":[]}`},
		{"repeated members", mcp.MethodToolsList, Filter{Limits: denied},
			`{"tools":[{"name":"get_wiki_page"}],"TOOLS":[{"name":"get_wiki_page"}],"\u0074ools":[{"name":"get_wiki_page"}]}`, `{"tools":[],"TOOLS":[],"\u0074ools":[]}`},
		{"repeated names", mcp.MethodToolsList, Filter{Limits: denied},
			`{"tools":[{"name":"list_my_repos","name":"get_wiki_page"},{"name":"list_my_repos","Name":"get_wiki_page"},{"NAME":"get_wiki_page"},7,{}]}`, `{"tools":[]}`},
		{"what is no list", mcp.MethodToolsList, Filter{View: issues}, `{"tools":"many","inputRequests":{}}`, `{"tools":"many","inputRequests":{}}`},
		{"templates", mcp.MethodTemplatesList, Filter{View: issues},
			`{"resourceTemplates":[{"uriTemplate":"` + wiki + `"},{"uriTemplate":"` + issue + `","annotations":{"priority":1}},{"uriTemplate":"x://{y}"}]}`,
			`{"resourceTemplates":[{"title":"Issue","uriTemplate":"` + issue + `","annotations":{"priority":1}}]}`},
		{"templates by rule", mcp.MethodTemplatesList, Filter{Limits: denied, Reader: true}, `{"resourceTemplates":[{"uriTemplate":"` + wiki + `"}]}`, `{"resourceTemplates":[]}`},
		{"resources", mcp.MethodResourcesList, Filter{View: issues},
			`{"resources":[{"uri":"forgejo://repo/a/b/wiki/Home"},{"uri":"forgejo://repo/a/b/issue/1"},{"uri":"file:///x"}]}`, `{"resources":[{"uri":"forgejo://repo/a/b/issue/1"}]}`},
		{"reading resources is reading", mcp.MethodResourcesList, Filter{Reader: true}, `{"resources":[{"uri":"file:///x"}]}`, `{"resources":[{"uri":"file:///x"}]}`},
		{"prompts", mcp.MethodPromptsList, Filter{Reader: true}, `{"prompts":[{"name":"create_issue"}]}`, `{"prompts":[{"name":"create_issue"}]}`},
		{"prompts are in no toolset", mcp.MethodPromptsList, Filter{View: issues}, `{"prompts":[{"name":"create_issue"}]}`, `{"prompts":[]}`},
		{"prompts are no rule's", mcp.MethodPromptsList, Filter{Limits: denied}, `{"prompts":[{"name":"x"}]}`, `{"prompts":[]}`},
	} {
		if got := NewCache().List(tc.method, &tc.filter, json.RawMessage(tc.result)); string(got) != tc.want {
			t.Errorf("%s: got %s, want %s", tc.why, got, tc.want)
		}
	}
}

// drawFilter draws a Filter of any kind.
func drawFilter(t *rapid.T) *Filter {
	some := func(list []string) *rapid.Generator[[]string] { return rapid.SliceOfN(rapid.SampledFrom(list), 0, 3) }
	var names []string
	for _, one := range forgeapi.AllTools() {
		names = append(names, one.Name)
	}
	cover := rapid.Custom(func(t *rapid.T) policy.Cover {
		return policy.Cover{
			Rule: "r", ReadOnly: rapid.Bool().Draw(t, "read-only"), WritesOnly: rapid.Bool().Draw(t, "writes"),
			Toolsets: some(forgeapi.Toolsets()).Draw(t, "toolsets"), Tools: some(names).Draw(t, "tools"),
			Repositories: some([]string{"a/b", "a/c*"}).Draw(t, "repositories"),
		}
	})
	rights := rapid.Custom(func(t *rapid.T) policy.Rights {
		return policy.Rights{Grants: rapid.SliceOfN(cover, 0, 3).Draw(t, "grants"), Denials: rapid.SliceOfN(cover, 0, 2).Draw(t, "denials")}
	})
	f := &Filter{Reader: rapid.Bool().Draw(t, "reader"), View: View{ReadOnly: rapid.Bool().Draw(t, "view read-only")}, Limits: rapid.SliceOfN(rights, 0, 2).Draw(t, "limits")}
	if rapid.Bool().Draw(t, "toolsets") {
		f.View.Toolsets = some(forgeapi.Toolsets()).Draw(t, "seen")
	}
	return f
}

// drawList draws a result of tools/list by a backend that is up to anything, and the names
// in it that all readers agree on.
func drawList(t *rapid.T) (result json.RawMessage, clear []string) {
	key := func(name string) string {
		return rapid.SampledFrom([]string{name, name, name, name, strings.ToUpper(name), `\u00` + fmt.Sprintf("%02x", name[0]) + name[1:], "x" + name}).Draw(t, "key")
	}
	item := func() string {
		var members []string
		var names []string
		exact := true
		for range rapid.SampledFrom([]int{1, 1, 1, 1, 0, 2}).Draw(t, "names") {
			k, name := key("name"), rapid.SampledFrom(append(forgejoTools(), "do_nothing", "", "forgejo://owner/{owner}")).Draw(t, "name")
			members = append(members, `"`+k+`":`+strconv.Quote(name))
			if k[0] != 'x' {
				names = append(names, name)
				exact = exact && (k == "name" || k[0] == '\\')
			}
		}
		if exact && len(names) == 1 {
			clear = append(clear, names[0])
		}
		members = append(members, `"`+key("title")+`":"mine"`, `"`+key("annotations")+`":{"destructiveHint":true}`, `"inputSchema":{"name":"delete_repo","tools":[]}`)
		return "{" + strings.Join(rapid.Permutation(members).Draw(t, "members"), " , ") + "}"
	}
	members := []string{`"nextCursor":"c\"1"`, `"n":1.0e0`}
	for range rapid.SampledFrom([]int{1, 1, 1, 0, 2}).Draw(t, "lists") {
		k := key("tools")
		before := len(clear)
		var items []string
		for range rapid.IntRange(0, 6).Draw(t, "items") {
			items = append(items, item())
		}
		if k[0] == 'x' {
			clear = clear[:before]
		}
		members = append(members, `"`+k+`" : [`+strings.Join(items, " ,\n")+`]`)
	}
	return json.RawMessage("{" + strings.Join(members, ", ") + "}"), clear
}

// Whoever reads what is shown, and however, finds no tool that is hidden from him, and all
// others.
func TestNothingHiddenIsListed(t *testing.T) {
	cache := NewCache()
	rapid.Check(t, func(t *rapid.T) {
		f := drawFilter(t)
		result, clear := drawList(t)
		before := bytes.Clone(result)
		got := cache.List(mcp.MethodToolsList, f, result)
		if !bytes.Equal(result, before) {
			t.Fatal("the backend's result was changed")
		}
		if again := cache.List(mcp.MethodToolsList, f, bytes.Clone(result)); !bytes.Equal(again, got) {
			t.Fatalf("first %s, then %s", got, again)
		}
		var shown []string
		for _, name := range everyName(t, got) {
			if f.All() {
				break
			}
			if shown = append(shown, name); f.Tool(name).Hidden() {
				t.Fatalf("%q is shown to %+v: %s became %s", name, f, result, got)
			}
		}
		for _, name := range clear {
			if !f.All() && !f.Tool(name).Hidden() && !slices.Contains(shown, name) {
				t.Fatalf("%q is hidden from %+v: %s became %s", name, f, result, got)
			}
		}
		for _, kept := range []string{`"nextCursor":"c\"1", "n":1.0e0`} {
			if !bytes.Contains(got, []byte(kept)) {
				t.Fatalf("%s became %s", result, got)
			}
		}
	})
}

// everyName is each name under which some reader may find a tool in a result.
func everyName(t *rapid.T, result json.RawMessage) (names []string) {
	each := func(object json.RawMessage, key string, do func(json.RawMessage)) {
		d := json.NewDecoder(bytes.NewReader(object))
		if _, err := d.Token(); err != nil {
			t.Fatalf("%s: %v", object, err)
		}
		for d.More() {
			k, err := d.Token()
			var value json.RawMessage
			if err == nil {
				err = d.Decode(&value)
			}
			if err != nil {
				t.Fatalf("%s: %v", object, err)
			}
			if strings.EqualFold(k.(string), key) {
				do(value)
			}
		}
	}
	each(result, "tools", func(list json.RawMessage) {
		var items []json.RawMessage
		if err := json.Unmarshal(list, &items); err != nil {
			t.Fatalf("%s: %v", list, err)
		}
		for _, item := range items {
			each(item, "name", func(value json.RawMessage) {
				var name string
				_ = json.Unmarshal(value, &name)
				names = append(names, name)
			})
		}
	})
	return names
}

// Filters that show the same share a list, those that do not never do.
func TestSight(t *testing.T) {
	// These differ in what the table does not know alone.
	every := policy.Rights{Grants: []policy.Cover{{}}}
	known := policy.Rights{Grants: every.Grants, Denials: []policy.Cover{{Rule: "r", WritesOnly: true, Tools: []string{"forgejo://owner/{owner}"}}}}
	if (&Filter{Limits: policy.Limits{every}}).sight() == (&Filter{Limits: policy.Limits{known}}).sight() {
		t.Error("tools that the table does not know are of no matter")
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawFilter(t), drawFilter(t)
		all := toolsFor(append(forgejoTools(), "do_nothing")...)
		same := bytes.Equal(listings[mcp.MethodToolsList].apply(a, all), listings[mcp.MethodToolsList].apply(b, all))
		if a.sight() == b.sight() && !same {
			t.Fatalf("%+v and %+v see different lists", a, b)
		}
	})
}
