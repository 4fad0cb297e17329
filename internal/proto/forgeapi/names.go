package forgeapi

import (
	"slices"
	"strings"
)

// Words of the table's column of names.
const (
	wordRepo   = "repo"
	wordOwner  = "owner"
	wordRepos  = "repos"
	wordNone   = "none"
	wordAcross = "across"
	inPath     = "path:head"
	inBody     = "body:"
	bodyHead   = inBody + "head"
)

// AnyOf stands for the name of a repository that cannot be told.
const AnyOf = "*"

// Names is what a request concerns, in lower case.
type Names struct {
	Repositories []string // as owner/name; owner/* for some of that owner's
	Owners       []string // of what belongs to them and to no repository
	Across       bool     // several repositories of any owners, or ones that cannot be told
}

func (n *Names) repository(owner, name string) {
	if Repo(owner, name) == "" && (name != AnyOf || !namePattern.MatchString(owner)) {
		n.Across = true
		return
	}
	n.Repositories = add(n.Repositories, strings.ToLower(owner+"/"+name))
}

func (n *Names) owner(name string) {
	if !namePattern.MatchString(name) {
		n.Across = true
		return
	}
	n.Owners = add(n.Owners, strings.ToLower(name))
}

func add(all []string, s string) []string {
	if slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}

// head takes where a pull request comes from: branch, owner:branch, for a fork of that
// owner's whatever its name, or owner/repo:branch.
func (n *Names) head(s string) {
	before, _, foreign := strings.Cut(s, ":")
	if !foreign {
		return
	}
	owner, name, named := strings.Cut(before, "/")
	if !named {
		name = AnyOf
	}
	n.repository(owner, name)
}

// Across reports whether whatever the route is asked for is about several repositories, or
// about ones that cannot be told.
func (r Route) Across() bool { return r.Names == wordAcross }

// NamesInBody reports whether Names needs the body's fields.
func (d Decision) NamesInBody() bool {
	return slices.ContainsFunc(d.meanings, func(m meaning) bool { return strings.Contains(m.names, inBody) })
}

// Names returns what the request concerns in any of its meanings. field gives the value of
// one of the body's fields, "" where there is none.
func (d Decision) Names(field func(name string) string) Names {
	n := Names{Across: len(d.meanings) == 0}
	for _, m := range d.meanings {
		for word := range strings.FieldsSeq(m.names) {
			m.name(&n, word, field)
		}
	}
	return n
}

// name adds what one word of the table says.
func (m meaning) name(n *Names, word string, field func(string) string) {
	owner, repo := m.place()
	switch word {
	case wordNone:
	case wordRepo:
		for _, name := range spellings(repo) {
			n.repository(owner, name)
		}
	case wordOwner:
		n.owner(owner)
	case wordRepos:
		n.repository(owner, AnyOf)
	case inPath:
		// After the last dots of base...head; whatever stands before a slash may be more.
		path := strings.Join(m.path, "/")
		if end := path[strings.LastIndex(path, "..")+1:]; strings.Contains(path, ":") {
			n.Across = n.Across || !strings.Contains(end, ":") || strings.Contains(end, "/")
			n.head(strings.TrimLeft(end, "."))
		}
	case bodyHead:
		n.head(field("head"))
	default:
		fields, ok := strings.CutPrefix(word, inBody)
		if !ok {
			n.Across = true
			return
		}
		n.fields(fields, owner, repo, field)
	}
}

// fields takes what body: in the table names: owner/name as the fields of two names, /name
// for one of the path's owner, or an owner alone.
func (n *Names) fields(names, owner, repo string, field func(string) string) {
	first, second, two := strings.Cut(names, "/")
	if first != "" {
		owner = field(first) // without one it is the user, or nobody
	}
	switch name := field(second); {
	case !two:
		n.owner(owner)
	case name != "":
		n.repository(owner, name)
	case first != "":
		n.repository(owner, repo)
	}
}

// place is what the path holds for the template's owner, by any of its names, and
// repository.
func (m meaning) place() (owner, repo string) {
	i := 0
	for want := range strings.SplitSeq(m.template[1:], "/") {
		switch want {
		case "{org}", "{owner}", "{username}":
			if owner == "" {
				owner = m.path[i]
			}
		case "{repo}":
			return owner, m.path[i]
		}
		if i++; i == len(m.path) {
			break
		}
	}
	return owner, ""
}

// spellings are the repositories that a name in a path may stand for. Outside the API the
// forge drops these ends, which no name of a repository may have; some could once.
func spellings(name string) []string {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".git"), ".wiki")
	if short := strings.TrimSuffix(strings.TrimSuffix(name, ".rss"), ".atom"); short != name {
		return []string{name, short}
	}
	return []string{name}
}
