package fakeforge

import (
	"slices"
	"strings"
)

var scopeCategories = []string{"activitypub", "admin", "issue", "misc", "notification", "organization", "package", "repository", "user"}

// scopeAllows reports whether a token of this scope may use category at level,
// "read" or "write". As in Forgejo, a scope that holds nothing but OIDC names,
// or any name that is unknown, is full access.
func scopeAllows(scope, level, category string) bool {
	names := slices.DeleteFunc(strings.Split(scope, " "), func(s string) bool {
		return slices.Contains([]string{"", "openid", "profile", "email", "groups"}, s)
	})
	if len(names) == 0 || slices.Contains(names, "all") || slices.ContainsFunc(names, func(s string) bool { return !knownScope(s) }) {
		return true
	}
	return slices.Contains(names, "write:"+category) || level == "read" && slices.Contains(names, "read:"+category)
}

func knownScope(name string) bool {
	level, category, ok := strings.Cut(name, ":")
	return name == "public-only" || ok && (level == "read" || level == "write") && slices.Contains(scopeCategories, category)
}
