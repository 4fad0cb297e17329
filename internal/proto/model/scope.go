package model

import (
	"slices"
	"strings"
)

// Scopes of the broker. Who may write may read.
const (
	ScopeRead  = "forgejo:read"
	ScopeWrite = "forgejo:write"
)

// Scopes lists the scopes of the broker, for metadata.
func Scopes() []string { return []string{ScopeRead, ScopeWrite} }

// GrantedScope is what a request for scope is given, unless the user gives less.
// A client that names only ScopeRead of ours gets that. All others get both:
// clients ask for nothing, for OIDC's scopes, or for all they have read about.
// The token response states what they got (RFC 6749 §3.3).
func GrantedScope(scope string) string {
	asked := strings.Fields(scope)
	if slices.Contains(asked, ScopeRead) && !slices.Contains(asked, ScopeWrite) {
		return ScopeRead
	}
	return ScopeRead + " " + ScopeWrite
}

// ReadOnly reports whether scope lacks the right to write.
func ReadOnly(scope string) bool { return !slices.Contains(strings.Fields(scope), ScopeWrite) }
