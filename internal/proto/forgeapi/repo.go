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

// repo is the repository that the path names.
func (m meaning) repo() string {
	owner, name := m.place()
	return Repo(owner, strings.TrimSuffix(name, ".git"))
}
