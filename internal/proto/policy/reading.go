package policy

import (
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// Keys of a rule.
const (
	keyName           = "name"
	keyEveryone       = "everyone"
	keyUsers          = "users"
	keyOrganizations  = "organizations"
	keyTeams          = "teams"
	keyAdministrators = "administrators"
	keyAccess         = "access"
	keyToolsets       = "toolsets"
	keyTools          = "tools"
	keyRepositories   = "repositories"
	keyOwners         = "owners"
)

var keys = []string{keyName, keyEveryone, keyUsers, keyOrganizations, keyTeams, keyAdministrators, keyAccess, keyToolsets, keyTools, keyRepositories, keyOwners}

const (
	accessRead  = "read"
	accessWrite = "write"
)

// reading is a rule that is being read.
type reading struct {
	Rule
	seen   map[string]int // keys, by line
	broken bool           // a fault of syntax may have taken something from it
}

func (r *reading) set(p *parser, key string, line int, v *unstable.Node) {
	if first, ok := r.seen[key]; ok {
		p.fault(line, "%.100q stands on line %d already: write it once", key, first)
		return
	}
	r.seen[key] = line
	if r.Deny && (key == keyOrganizations || key == keyTeams || key == keyAdministrators) {
		p.fault(line, "%s: nobody is denied by what they are a member of, since they could leave it: deny %s or %s, or grant less", key, keyUsers, keyEveryone)
		return
	}
	value := value{p, key, line, v}
	switch key {
	case keyName:
		r.setName(value)
	case keyAccess:
		r.setAccess(value)
	case keyEveryone:
		r.Everyone = value.boolean()
	case keyAdministrators:
		r.Administrators = value.boolean()
	case keyUsers:
		r.Users = value.subjects(User, parseUser)
	case keyOrganizations:
		r.Organizations = value.subjects(Organization, parseOrganization)
	case keyTeams:
		r.Teams = value.subjects(Team, parseTeam)
	case keyToolsets:
		r.Toolsets = value.texts(parseToolset)
	case keyTools:
		r.Tools = value.texts(parseTool)
	case keyRepositories:
		r.Repositories = value.texts(parseRepository)
	case keyOwners:
		r.Owners = value.texts(parseOwner)
	default:
		p.fault(line, "there is no key %.100q%s", key, nearest(key, keys))
	}
}

func (r *reading) setName(v value) {
	name, ok := v.text()
	if !ok {
		return
	}
	if !isRule(name) {
		v.fault("%.100q is no rule's name: want 1 to 64 of a-z, 0-9 and -", name)
		return
	}
	if first, ok := v.p.names[name]; ok {
		v.fault("the rule on line %d has the name %q already: give each its own", first, name)
		return
	}
	r.Name, v.p.names[name] = name, r.Line
}

func (r *reading) setAccess(v value) {
	switch access, ok := v.text(); {
	case !ok:
	case access == accessWrite:
		r.WritesOnly = r.Deny
	case r.Deny:
		v.fault("want %q, to deny only what changes something, got %.100q: leave the key out to deny reading too", accessWrite, access)
	case access == accessRead:
		r.ReadOnly = true
	default:
		v.fault("want %q or %q, got %.100q", accessRead, accessWrite, access)
	}
}

// judge finds what is wrong with the rule as a whole.
func (r *reading) judge(p *parser) {
	if !r.broken {
		r.judgeMissing(p)
	}
	if members := r.others(); r.Everyone && len(members) > 0 {
		p.fault(r.seen[keyEveryone], "%s and %s contradict each other: leave out %s for the others alone, or the others for all", keyEveryone, strings.Join(members, ", "), keyEveryone)
	}
	r.judgeTools(p)
	if n := (&Rights{Grants: []Cover{r.cover()}}).size(); n > MaxBytes {
		p.fault(r.Line, "the rule takes %d bytes of at most %d: name owners or patterns in place of repositories", n, MaxBytes)
	}
}

func (r *reading) judgeMissing(p *parser) {
	if r.seen[keyName] == 0 {
		p.fault(r.Line, "the rule has no %s: give it one, by which it is told where it refuses", keyName)
	}
	if r.seen[keyAccess] == 0 && !r.Deny {
		p.fault(r.Line, "the grant has no %s: write %s = %q, or %q for reading and writing", keyAccess, keyAccess, accessRead, accessWrite)
	}
	switch named := r.seen[keyUsers] > 0 || len(r.others()) > 0 || r.Everyone; {
	case named:
	case r.Deny:
		p.fault(r.Line, "the denial is for nobody: want %s = true, or %s", keyEveryone, keyUsers)
	default:
		p.fault(r.Line, "the grant is for nobody: want %s = true, or one or more of %s, %s, %s and %s", keyEveryone, keyUsers, keyOrganizations, keyTeams, keyAdministrators)
	}
}

// others are the keys besides everyone that say whom the rule is for.
func (r *reading) others() []string {
	var all []string
	for _, key := range []string{keyUsers, keyOrganizations, keyTeams} {
		if r.seen[key] > 0 {
			all = append(all, key)
		}
	}
	if r.Administrators {
		all = append(all, keyAdministrators)
	}
	return all
}

// judgeTools finds tools of which the rule's access leaves nothing.
func (r *reading) judgeTools(p *parser) {
	for _, name := range r.Tools {
		switch t, _ := forgeapi.ToolNamed(name); {
		case r.ReadOnly && !t.Reads():
			p.fault(r.seen[keyTools], "%s: %s changes something, and %s = %q grants nothing of it: take %q, or leave it out", keyTools, name, keyAccess, accessRead, accessWrite)
		case r.WritesOnly && t.Reads():
			p.fault(r.seen[keyTools], "%s: %s changes nothing, and %s = %q denies nothing of it: leave one of the two out", keyTools, name, keyAccess, accessWrite)
		}
	}
}

// value is what a key of a rule is set to.
type value struct {
	p    *parser
	key  string
	line int
	*unstable.Node
}

func (v value) fault(format string, a ...any) {
	v.p.fault(v.line, v.key+": "+format, a...)
}

func (v value) boolean() bool {
	if v.Kind != unstable.Bool {
		v.fault("want true or false without quotes, got %s", kinds[v.Kind])
		return false
	}
	return string(v.Data) == "true"
}

func (v value) text() (string, bool) {
	if v.Kind != unstable.String {
		v.fault("want a text in quotes, got %s", kinds[v.Kind])
		return "", false
	}
	return string(v.Data), true
}

// list reads a list of texts, none of them twice.
func (v value) list(parse func(string) (Name, error)) []Name {
	if v.Kind != unstable.Array {
		v.fault("want a list of texts such as [%q], got %s", "one", kinds[v.Kind])
		return nil
	}
	var all []Name
	seen := make(map[string]bool)
	n := 0
	for entries := v.Children(); entries.Next(); n++ {
		entry := value{v.p, v.key, v.line, entries.Node()}
		text, ok := entry.text()
		if !ok {
			continue
		}
		entry.line = v.p.line(entry.Raw)
		switch name, err := parse(text); {
		case err != nil:
			entry.fault("%v", err)
		case seen[name.Text]:
			entry.fault("%.100q is in the list already: write it once", text)
		default:
			seen[name.Text] = true
			all = append(all, name)
		}
	}
	switch {
	case n == 0:
		v.fault("the list is empty: leave the key out")
	case n > maxList:
		v.fault("the list has %d entries of at most %d: write another rule", n, maxList)
	}
	return all
}

func (v value) texts(parse func(string) (string, error)) []string {
	var all []string
	for _, n := range v.list(func(s string) (Name, error) { text, err := parse(s); return Name{Text: text}, err }) {
		all = append(all, n.Text)
	}
	return all
}

// subjects reads names, none of which may be pinned to another id elsewhere.
func (v value) subjects(kind Kind, parse func(string) (Name, error)) []Name {
	all := v.list(parse)
	for _, n := range all {
		s := Subject{Kind: kind, Text: n.Text}
		switch first, ok := v.p.pins[s]; {
		case n.ID == 0:
		case !ok:
			v.p.pins[s] = pin{n.ID, v.line}
		case first.id != n.ID:
			v.fault("%s is pinned to %d here and to %d on line %d: want one", n.Text, n.ID, first.id, first.line)
		}
	}
	return all
}

var kinds = map[unstable.Kind]string{
	unstable.Array: "a list", unstable.InlineTable: "a table", unstable.String: "a text", unstable.Bool: "true or false",
	unstable.Float: "a number", unstable.Integer: "a number",
	unstable.LocalDate: "a date", unstable.LocalTime: "a time", unstable.LocalDateTime: "a date", unstable.DateTime: "a date",
}
