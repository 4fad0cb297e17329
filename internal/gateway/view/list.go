package view

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
)

// listing says how the result of a method lists things.
type listing struct {
	member string // that holds the array
	name   string // the member of each item by which it is used
	decide func(*Filter, string) Verdict
	words  func() map[string]words
}

var listings = map[string]listing{
	mcp.MethodToolsList:     {"tools", "name", (*Filter).Tool, toolWords},
	mcp.MethodResourcesList: {"resources", "uri", (*Filter).Resource, noWords},
	mcp.MethodTemplatesList: {"resourceTemplates", "uriTemplate", (*Filter).Template, templateWords},
	mcp.MethodPromptsList:   {"prompts", "name", (*Filter).Prompt, noWords},
}

// Lists reports whether a method's result is a list of what there is to use.
func Lists(method string) bool { return listings[method].member != "" }

// annotations is what MCP calls a tool's hints (schema, ToolAnnotations). The forge is all
// that a tool reaches, so the world of none is open. Clients show the tool's own title
// before one that stands here.
type annotations struct {
	ReadOnly    bool `json:"readOnlyHint"`
	Destructive bool `json:"destructiveHint"`
	Idempotent  bool `json:"idempotentHint"`
	OpenWorld   bool `json:"openWorldHint"`
}

// words are the members that the table gives an item.
type words struct {
	text  []byte // JSON, without braces
	names []string
}

// wordsOf has the words for each tool, and for each template, by name.
var wordsOf = sync.OnceValues(func() (tools, templates map[string]words) {
	tools, templates = map[string]words{}, map[string]words{}
	for _, t := range forgeapi.AllTools() {
		title, _ := json.Marshal(t.Title)
		text := append([]byte(`"title":`), title...)
		if t.IsTemplate() { // whose annotations are other ones
			templates[t.Name] = words{text, []string{"title"}}
			continue
		}
		hints, _ := json.Marshal(annotations{t.Reads(), t.Effect == forgeapi.EffectDestroys, t.Idempotent, false})
		tools[t.Name] = words{append(append(text, `,"annotations":`...), hints...), []string{"title", "annotations"}}
	}
	return tools, templates
})

func toolWords() map[string]words     { tools, _ := wordsOf(); return tools }
func templateWords() map[string]words { _, templates := wordsOf(); return templates }
func noWords() map[string]words       { return nil }

// apply makes of a result that lists things the one that f shows: without what is hidden,
// and with the table's words for what it knows. It may be kept for one user only, since
// others may see other things (2026-07-28, Caching). All else stays as it is. A backend may
// repeat members, or write them in another case, which readers take differently: each of
// them is looked at.
func (l listing) apply(f *Filter, result json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	done := 0
	w, ok := rawjson.Walk(result, 0)
	for ok && w.Next() {
		switch {
		case is(w.Key, l.member):
			if items, ok := rawjson.Items(result, w.Value.From); ok {
				out.Write(result[done:w.Value.From])
				l.items(&out, f, result, items)
				done = w.Value.To
			}
		case is(w.Key, "cacheScope"):
			out.Write(result[done:w.Value.From])
			out.WriteString(`"private"`)
			done = w.Value.To
		}
	}
	if done == 0 {
		return result
	}
	out.Write(result[done:])
	return out.Bytes()
}

// is reports whether some reader may take a quoted key for name.
func is(key []byte, name string) bool {
	return strings.EqualFold(string(rawjson.UnquoteKey(key)), name)
}

func (l listing) items(out *bytes.Buffer, f *Filter, result []byte, items []rawjson.Span) {
	out.WriteByte('[')
	first := out.Len()
	for _, at := range items {
		item := at.Of(result)
		name := l.nameOf(item)
		if l.decide(f, name).Hidden() {
			continue
		}
		if out.Len() > first {
			out.WriteByte(',')
		}
		if w, ok := l.words()[name]; ok {
			w.describe(out, item)
		} else {
			out.Write(item)
		}
	}
	out.WriteByte(']')
}

// nameOf is by what an item is used; "", which is nothing's name, where readers may
// differ about it.
func (l listing) nameOf(item json.RawMessage) string {
	var name string
	names := 0
	w, ok := rawjson.Walk(item, 0)
	for ok && w.Next() {
		if is(w.Key, l.name) {
			names++
			if string(rawjson.UnquoteKey(w.Key)) != l.name || json.Unmarshal(w.Value.Of(item), &name) != nil {
				return ""
			}
		}
	}
	if names != 1 {
		return ""
	}
	return name
}

// describe writes an item with w in place of its own members of these names.
func (w words) describe(out *bytes.Buffer, item []byte) {
	out.WriteByte('{')
	out.Write(w.text)
	members, ok := rawjson.Walk(item, 0)
	for ok && members.Next() {
		if slices.ContainsFunc(w.names, func(name string) bool { return is(members.Key, name) }) {
			continue
		}
		out.WriteByte(',')
		out.Write(members.Key)
		out.WriteByte(':')
		out.Write(members.Value.Of(item))
	}
	out.WriteByte('}')
}
