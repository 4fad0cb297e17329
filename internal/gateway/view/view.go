// Package view decides what of a backend's tools, resources and prompts a request may see
// and use, and makes the lists that clients get of what the backend lists. What a
// connection may not do it does not see: a model is not led to try what is refused, and
// reads fewer words with each turn. At stake is that no list shows, and no call gets
// through, what the operator's policy or the user has not allowed by name. What a tool
// that got through may do at the forge is held elsewhere: a backend may say what it likes
// of its tools.
package view

import (
	"context"
	"slices"
)

// View is what a request asks to see by its URL and its headers. It is no boundary. The
// zero value asks for all.
type View struct {
	ReadOnly bool     `json:"read_only,omitempty"` // no more than reading
	Toolsets []string `json:"toolsets"`            // these alone, of forgeapi.Toolsets; nil for all
}

// All reports whether v asks for all there is.
func (v View) All() bool { return !v.ReadOnly && v.Toolsets == nil }

// Has reports whether v has the toolset of that name; "" is that of what is in none.
func (v View) Has(toolset string) bool {
	return v.Toolsets == nil || toolset != "" && slices.Contains(v.Toolsets, toolset)
}

type contextKey struct{}

// With returns a context of a request that asks to see v.
func With(ctx context.Context, v View) context.Context {
	return context.WithValue(ctx, contextKey{}, v)
}

// Of is what the context's request asks to see: all, unless With said otherwise.
func Of(ctx context.Context) View {
	v, _ := ctx.Value(contextKey{}).(View)
	return v
}
