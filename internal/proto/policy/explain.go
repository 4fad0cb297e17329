package policy

import (
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// Question is what Explain explains.
type Question struct {
	Tool       string // or resource template; "" for any, one that the forge's table does not know for all such
	Repository string // owner/name; "" for any
}

// Explanation says how rules decide a Question for somebody.
type Explanation struct {
	Verdict
	Rules []Match // that are for them, in the file's order
}

// Match is a rule that is for somebody, and what it has to do with a Question.
type Match struct {
	*Rule
	By []string // why it is for them: everyone, administrators, "user alice", "team acme/developers"

	// What of the question it covers. It has a say where it covers all three.
	Access, Tool, Place bool
	// Decides: one of the grants by which it is allowed, or the denial by which it is not.
	Decides bool
}

// Covers reports whether the rule has a say.
func (m *Match) Covers() bool { return m.Access && m.Tool && m.Place }

// Explain answers q for m, by the same Rights as everything else. The error is For's.
func (r *Rules) Explain(m Member, q Question) (Explanation, error) {
	rights, err := r.For(m)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Verdict: q.Decide(Limits{rights})}
	for i := range r.doc.Rules {
		rule := &r.doc.Rules[i]
		by := r.by(rule, m)
		if len(by) == 0 {
			continue
		}
		match := q.match(rule)
		match.By = by
		match.Decides = match.Covers() && (e.Allowed && !rule.Deny || rule.Deny && rule.Name == e.Rule)
		e.Rules = append(e.Rules, match)
	}
	return e, nil
}

// by says for what the rule is for m.
func (r *Rules) by(rule *Rule, m Member) []string {
	var by []string
	if rule.Everyone {
		by = append(by, keyEveryone)
	}
	if rule.Administrators && m.Known && m.Administrator {
		by = append(by, keyAdministrators)
	}
	for _, s := range rule.subjects() {
		if m.is(s.Kind, s.resolve(r.ids)) {
			by = append(by, s.String())
		}
	}
	return by
}

// Decide answers the question under l.
func (q Question) Decide(l Limits) Verdict {
	if q.Tool == "" {
		return l.anything(q.place())
	}
	t, _ := forgeapi.ToolNamed(q.Tool)
	return l.use(t, q.place())
}

func (q Question) place() place {
	if q.Repository == "" {
		return somewhere
	}
	request := Request{Repositories: []string{q.Repository}}
	return request.place()
}

// match compares the question to a rule.
func (q Question) match(rule *Rule) Match {
	m := Match{Rule: rule}
	c := rule.cover()
	t, _ := forgeapi.ToolNamed(q.Tool)
	if q.Tool == "" {
		m.Access, m.Tool = !rule.WritesOnly, !rule.Deny || c.allTools()
	} else {
		m.Access = !(rule.ReadOnly && !t.Reads()) && !(rule.WritesOnly && t.Reads())
		m.Tool = c.hasTool(t) || t.Name == "" && rule.Deny
	}
	p := q.place()
	p.across = p.across || t.Across()
	if rule.Deny {
		m.Place = p.denied(&c)
	} else {
		m.Place = p.granted([]*Cover{&c})
	}
	return m
}
