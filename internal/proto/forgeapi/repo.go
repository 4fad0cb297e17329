package forgeapi

import (
	"regexp"
	"strings"
)

// namePattern is what the forge takes as the name of a user or a repository.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// Repo is owner/name, or "" where one of the two is none that the forge knows.
func Repo(owner, name string) string {
	if !namePattern.MatchString(owner) || !namePattern.MatchString(name) {
		return ""
	}
	return owner + "/" + name
}

// repo is the repository that a path names, which the route matches.
func (r Route) repo(path []string) string {
	before, _, ok := strings.Cut(r.Path, "/{repo}")
	at := strings.Count(before, "/")
	if !ok || at < 1 || at >= len(path) {
		return ""
	}
	return Repo(path[at-1], strings.TrimSuffix(path[at], ".git"))
}
