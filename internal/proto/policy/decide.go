package policy

import (
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// Request is one for the forge.
type Request struct {
	Write  bool             // may change something
	Routes []forgeapi.Route // all that its path may mean
	// What it concerns: repositories as owner/name, and owners for what belongs to them and
	// to no repository. Across: several repositories, or ones that cannot be told.
	Repositories, Owners []string
	Across               bool
}

// Request decides at the boundary. For each route that the request may mean there must be
// a tool that uses it with which somebody may do what is asked, for each repository and
// owner that it concerns. A route of no tool is taken for one of a tool that nothing knows.
func (l Limits) Request(q Request) Verdict {
	if len(l) == 0 {
		return allowed
	}
	place := q.place()
	if len(q.Routes) == 0 {
		return l.all(func(r *Rights) Verdict { return r.may(unknown, q.Write, place) })
	}
	for _, route := range q.Routes {
		if v := l.route(route, q.Write, place); !v.Allowed {
			return v
		}
	}
	return allowed
}

// route decides for one of a Request's routes. It must be one tool that all Rights allow.
func (l Limits) route(route forgeapi.Route, write bool, p place) Verdict {
	tools := []forgeapi.Tool{unknown}
	if len(route.Tools) > 0 {
		tools = tools[:0]
	}
	for _, name := range route.Tools {
		t, _ := forgeapi.ToolNamed(name)
		tools = append(tools, t)
	}
	var refused Verdict
	for _, t := range tools {
		v := l.all(func(r *Rights) Verdict { return r.may(t, write, p) })
		if v.Allowed {
			return v
		}
		refused = better(refused, v)
	}
	return refused
}

// better is the refusal that says more.
func better(a, b Verdict) Verdict {
	if a.Rule != "" {
		return a
	}
	return b
}

// all returns the first refusal.
func (l Limits) all(decide func(*Rights) Verdict) Verdict {
	for i := range l {
		if v := decide(&l[i]); !v.Allowed {
			return v
		}
	}
	return allowed
}

// Tool decides for the view: whether there is a repository for which t may be used.
func (l Limits) Tool(t forgeapi.Tool) Verdict {
	return l.all(func(r *Rights) Verdict { return r.may(t, !t.Reads(), place{some: true}) })
}

// Unknown decides of a tool that the forge's table does not know. It is taken to change
// something, and to be each of the tools that a denial names.
func (l Limits) Unknown(string) Verdict {
	return l.all(func(r *Rights) Verdict { return r.may(unknown, true, place{some: true}) })
}

// Connect decides whether anything may be done at all.
func (l Limits) Connect() Verdict {
	if v := l.Unknown(""); v.Allowed {
		return v
	}
	var refused Verdict
	for _, t := range forgeapi.AllTools() {
		v := l.Tool(t)
		if v.Allowed {
			return v
		}
		refused = better(refused, v)
	}
	return refused
}

// ReadOnly reports whether nothing may be changed at all.
func (l Limits) ReadOnly() bool {
	if l.Unknown("").Allowed {
		return false
	}
	for _, t := range forgeapi.AllTools() {
		if !t.Reads() && l.Tool(t).Allowed {
			return false
		}
	}
	return true
}

// place is what something is done to.
type place struct {
	repositories, owners []string // in lower case
	across               bool
	some                 bool // whatever it takes: is there a place at all
}

func (q *Request) place() place {
	p := place{across: q.Across}
	for _, repo := range q.Repositories {
		repo = strings.ToLower(repo)
		if owner, name, ok := strings.Cut(repo, "/"); !ok || owner == "" || name == "" || strings.Contains(name, "/") {
			p.across = true // one that cannot be told
			continue
		}
		p.repositories = append(p.repositories, repo)
	}
	for _, owner := range q.Owners {
		p.owners = append(p.owners, strings.ToLower(owner))
	}
	return p
}

// may decides for a tool at a place.
func (r *Rights) may(t forgeapi.Tool, write bool, p place) Verdict {
	grants := r.granting(t, write)
	if !p.granted(grants) {
		return Verdict{}
	}
	for i := range r.Denials {
		d := &r.Denials[i]
		if (write || !d.WritesOnly) && (t.Name == "" || d.hasTool(t)) && p.denied(d) {
			return Verdict{Rule: d.Rule}
		}
	}
	return allowed
}

// granting returns the grants that are for t.
func (r *Rights) granting(t forgeapi.Tool, write bool) []*Cover {
	var grants []*Cover
	for i := range r.Grants {
		if g := &r.Grants[i]; !(write && g.ReadOnly) && g.hasTool(t) {
			grants = append(grants, g)
		}
	}
	return grants
}

// granted reports whether each thing at p is covered by one of grants.
func (p *place) granted(grants []*Cover) bool {
	covered := func(has func(*Cover) bool) bool {
		for _, g := range grants {
			if has(g) {
				return true
			}
		}
		return false
	}
	if len(grants) == 0 || p.across && !covered((*Cover).allRepositories) {
		return false
	}
	for _, repo := range p.repositories {
		if !covered(func(g *Cover) bool { return g.hasRepository(repo) }) {
			return false
		}
	}
	for _, owner := range p.owners {
		if !covered(func(g *Cover) bool { return g.hasOwner(owner) }) {
			return false
		}
	}
	return true
}

// denied reports whether d covers anything at p; of some place, whether it covers all.
func (p *place) denied(d *Cover) bool {
	if d.allRepositories() || p.across {
		return true
	}
	for _, repo := range p.repositories {
		if d.hasRepository(repo) {
			return true
		}
	}
	for _, owner := range p.owners {
		if d.hasOwner(owner) {
			return true
		}
	}
	return false
}
