package view

import (
	"context"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// Filter is what one request may see and use: what its View asks for, its access allows,
// and the operator's policy gives. The zero value allows all. Encoded as JSON it goes with
// a call to the next process.
type Filter struct {
	View   View          `json:"view"`
	Reader bool          `json:"reader,omitempty"` // its access is for reading only
	Limits policy.Limits `json:"limits,omitempty"`
}

// For is the Filter of a request with that context and access.
func For(ctx context.Context, access model.Access) *Filter {
	return &Filter{View: Of(ctx), Reader: model.ReadOnly(access.Scope), Limits: access.Limits}
}

// Cause is why something is hidden; the zero value, that it is not.
type Cause string

// Causes, the one that the user can do the least about first. Where several hold, that one
// is told.
const (
	CausePolicy  Cause = "policy"    // the operator's policy does not allow it
	CauseToolset Cause = "hidden"    // it is in none of the toolsets that the View asks for
	CauseReading Cause = "read_only" // it may change something, and the request may not
)

// Verdict says whether something is hidden, and why.
type Verdict struct {
	Cause
	Rule string // of CausePolicy: that denies it; "" where none allows it
}

// Hidden reports whether it is.
func (v Verdict) Hidden() bool { return v.Cause != "" }

// What the table does not know is in no toolset. A tool of these may change something;
// reading a resource or a prompt does not, by what MCP says of them.
var (
	unknownTool = forgeapi.Tool{Effect: forgeapi.EffectDestroys}
	unknownText = forgeapi.Tool{Effect: forgeapi.EffectReads}
)

// Tool decides of the tool of that name.
func (f *Filter) Tool(name string) Verdict {
	if t, ok := forgeapi.ToolNamed(name); ok && !t.IsTemplate() {
		return f.decide(t)
	}
	return f.decide(unknownTool)
}

// Resource decides of the resource of that URI.
func (f *Filter) Resource(uri string) Verdict {
	if t, ok := forgeapi.TemplateOf(uri); ok {
		return f.decide(t)
	}
	return f.decide(unknownText)
}

// Template decides of the resource template that is listed with that URI.
func (f *Filter) Template(uri string) Verdict {
	if t, ok := forgeapi.ToolNamed(uri); ok && t.IsTemplate() {
		return f.decide(t)
	}
	return f.Resource(uri) // a reference may name either
}

// Prompt decides of the prompt of that name. The table has none.
func (f *Filter) Prompt(string) Verdict { return f.decide(unknownText) }

func (f *Filter) decide(t forgeapi.Tool) Verdict {
	if v := f.Limits.Tool(t); !v.Allowed {
		return Verdict{CausePolicy, v.Rule}
	}
	switch {
	case !f.View.Has(t.Toolset):
		return Verdict{Cause: CauseToolset}
	case !t.Reads() && (f.Reader || f.View.ReadOnly):
		return Verdict{Cause: CauseReading}
	}
	return Verdict{}
}

// All reports whether nothing is hidden.
func (f *Filter) All() bool { return f.View.All() && !f.Reader && len(f.Limits) == 0 }

// sight says what of the table, and of what it does not know, f shows: Filters with the
// same show the same of each list. It is "" for all.
func (f *Filter) sight() string {
	if f.All() {
		return ""
	}
	tools := forgeapi.AllTools()
	shown := make([]byte, (len(tools)+2)/8+1)
	note := func(i int, t forgeapi.Tool) {
		if !f.decide(t).Hidden() {
			shown[i/8] |= 1 << (i % 8)
		}
	}
	for i, t := range tools {
		note(i, t)
	}
	note(len(tools), unknownTool)
	note(len(tools)+1, unknownText)
	return string(shown)
}
