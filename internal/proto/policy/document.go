package policy

import (
	"slices"
	"strconv"
	"strings"
)

// Kind is what a Subject is.
type Kind string

// Kinds of Subject. The words are those that are stored.
const (
	User         Kind = "user"
	Organization Kind = "organization"
	Team         Kind = "team"
)

// Subject is somebody at the forge as a rule names them.
type Subject struct {
	Kind Kind
	Text string // in lower case: a login name, an organization, or organization/team
	ID   int64  // that the rule pins it to; 0 for none
}

// String is for people: "team acme/developers#4".
func (s Subject) String() string {
	text := string(s.Kind) + " " + s.Text
	if s.ID != 0 {
		text += "#" + strconv.FormatInt(s.ID, 10)
	}
	return text
}

// Name is how a rule names a Subject.
type Name struct {
	Text string // as in Subject
	ID   int64  // as in Subject
}

// Rule grants or denies. What it names of the forge is in lower case.
type Rule struct {
	Name string
	Line int // of the file, from 1; where the rule begins
	Deny bool

	Everyone, Administrators    bool
	Users, Organizations, Teams []Name

	ReadOnly   bool // a grant that is for reading only
	WritesOnly bool // a denial that is of what changes something only

	Toolsets, Tools      []string // neither: all tools
	Repositories, Owners []string // neither: all; as in Cover
}

// Document is a policy's rules in the order of its file.
type Document struct{ Rules []Rule }

// Names returns whom the rules name, each once, in order of Kind, Text and ID.
func (d *Document) Names() []Subject {
	var all []Subject
	for _, r := range d.Rules {
		all = append(all, r.subjects()...)
	}
	slices.SortFunc(all, func(a, b Subject) int {
		if a.Kind != b.Kind {
			return strings.Compare(string(a.Kind), string(b.Kind))
		}
		if a.Text != b.Text {
			return strings.Compare(a.Text, b.Text)
		}
		return int(min(1, max(-1, a.ID-b.ID)))
	})
	return slices.Compact(all)
}

func (r *Rule) subjects() []Subject {
	var all []Subject
	for _, list := range []struct {
		kind  Kind
		names []Name
	}{{User, r.Users}, {Organization, r.Organizations}, {Team, r.Teams}} {
		for _, n := range list.names {
			all = append(all, Subject{list.kind, n.Text, n.ID})
		}
	}
	return all
}

// Membership says what of a user's membership the forge must be asked for.
type Membership struct{ Organizations, Teams, Administrator bool }

// Any reports whether there is anything to ask for.
func (m Membership) Any() bool { return m != Membership{} }

// Membership returns by what membership the rules grant.
func (d *Document) Membership() (m Membership) {
	for _, r := range d.Rules {
		m.Organizations = m.Organizations || len(r.Organizations) > 0
		m.Teams = m.Teams || len(r.Teams) > 0
		m.Administrator = m.Administrator || r.Administrators
	}
	return m
}

// ByMembership reports whether some rule grants by organization, team or being a site
// administrator.
func (d *Document) ByMembership() bool { return d.Membership().Any() }

// cover is what the rule says apart from whom it is for.
func (r *Rule) cover() Cover {
	c := Cover{
		ReadOnly: r.ReadOnly, WritesOnly: r.WritesOnly,
		Toolsets: sorted(r.Toolsets), Tools: sorted(r.Tools), Repositories: sorted(r.Repositories), Owners: sorted(r.Owners),
	}
	if r.Deny {
		c.Rule = r.Name
	}
	return c
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
