package denypath

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Variable names the operator's setting.
const Variable = "FJMCP_BROKER_FORGEJO_DENIED_PATHS"

// Words that stand for paths in a list.
const (
	wordDefault = "default" // the paths of Default
	wordNone    = "none"    // no path at all, alone
)

// Default lists what is denied unless the operator says otherwise: SSH and GPG
// keys, OAuth applications, personal access tokens, deploy keys, the tokens that
// register an Actions runner (Forgejo gives those out to a GET), administration.
const Default = "/user/keys /user/gpg_keys /user/applications /users/*/tokens /admin /repos/*/*/keys " +
	"/user/actions/runners /orgs/*/actions/runners /repos/*/*/actions/runners"

// maxPatterns bounds a list.
const maxPatterns = 200

var segmentPattern = regexp.MustCompile(`^(\*|[A-Za-z0-9_-][A-Za-z0-9._-]*)$`)

// List is a list of denied paths. The zero List denies nothing.
type List struct{ patterns [][]string }

// Parse reads paths below /api/v1, separated by white space. Each denies itself
// and all below it, in every method; a segment * stands for any one segment. The
// word "default" stands for Default; "none", alone, is the empty list; so is an
// empty string the default one. The error names every faulty path.
func Parse(value string) (List, error) {
	words := strings.Fields(value)
	if len(words) == 0 {
		words = []string{wordDefault}
	}
	if slices.Equal(words, []string{wordNone}) {
		return List{}, nil
	}
	var l List
	var faults []string
	for _, word := range words {
		if word == wordDefault {
			for path := range strings.FieldsSeq(Default) {
				l.add(path)
			}
			continue
		}
		if !wellFormed(word) {
			faults = append(faults, fmt.Sprintf("%q", word))
			continue
		}
		l.add(word)
	}
	switch {
	case len(faults) > 0:
		return List{}, fmt.Errorf("want paths below /api/v1 such as /user/keys or /users/*/tokens, without escapes, dot segments or a slash at the end, the word default for the list as delivered, or none alone; faulty: %s", strings.Join(faults, ", "))
	case len(l.patterns) > maxPatterns:
		return List{}, fmt.Errorf("want at most %d paths, got %d", maxPatterns, len(l.patterns))
	}
	return l, nil
}

// wellFormed also refuses /api/v1/…, which would match nothing, and a path of
// stars alone, which would close the API.
func wellFormed(path string) bool {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok || strings.HasPrefix(strings.ToLower(rest)+"/", "api/") || strings.Trim(rest, "*/") == "" {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if !segmentPattern.MatchString(segment) {
			return false
		}
	}
	return true
}

func (l *List) add(path string) {
	pattern := strings.Split(strings.ToLower(path[1:]), "/")
	if !slices.ContainsFunc(l.patterns, func(p []string) bool { return slices.Equal(p, pattern) }) {
		l.patterns = append(l.patterns, pattern)
	}
}

// String is the list as Parse takes it, in lower case.
func (l List) String() string {
	if len(l.patterns) == 0 {
		return wordNone
	}
	paths := make([]string, len(l.patterns))
	for i, p := range l.patterns {
		paths[i] = "/" + strings.Join(p, "/")
	}
	return strings.Join(paths, " ")
}

// covers reports whether the path, in lower case and relative to /api/v1, is
// denied.
func (l List) covers(path []string) bool {
	return slices.ContainsFunc(l.patterns, func(pattern []string) bool {
		if len(path) < len(pattern) {
			return false
		}
		for i, segment := range pattern {
			if segment != "*" && segment != path[i] {
				return false
			}
		}
		return true
	})
}
