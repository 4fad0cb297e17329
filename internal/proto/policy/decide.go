package policy

import (
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// Request is one for the forge.
type Request struct {
	Write  bool             // may change something
	Routes []forgeapi.Route // all that its path may mean
	// What it concerns: repositories as owner/name, or owner/* for some of the owner's that
	// are not said, and owners for what belongs to them and to no repository. Across:
	// several repositories, or ones that cannot be told.
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
	p := q.place()
	if len(q.Routes) == 0 {
		return l.may(unknown, q.Write, p)
	}
	for _, route := range q.Routes {
		if v := l.route(route, q.Write, p); !v.Allowed {
			return v
		}
	}
	return allowed
}

// route decides for one of a Request's routes. It must be one tool that all Rights allow.
func (l Limits) route(route forgeapi.Route, write bool, p place) Verdict {
	if len(route.Tools) == 0 {
		return l.may(unknown, write, p)
	}
	var refused Verdict
	for _, name := range route.Tools {
		t, _ := forgeapi.ToolNamed(name)
		v := l.may(t, write, p)
		if v.Allowed {
			return v
		}
		refused.or(v)
	}
	return refused
}

// or takes the refusal that says more.
func (v *Verdict) or(other Verdict) {
	if v.Rule == "" {
		*v = other
	}
}

// Tool decides for the view: whether there is a repository for which t may be used.
func (l Limits) Tool(t forgeapi.Tool) Verdict { return l.use(t, somewhere) }

// use decides whether t may do at p what it is for.
func (l Limits) use(t forgeapi.Tool, p place) Verdict {
	p.across = p.across || t.Across()
	return l.may(t, !t.Reads(), p)
}

// Unknown decides of a tool that the forge's table does not know. It is taken to change
// something, and to be each of the tools that a denial names.
func (l Limits) Unknown(string) Verdict { return l.Tool(unknown) }

// Connect decides whether anything may be done at all.
func (l Limits) Connect() Verdict { return l.anything(somewhere) }

// anything decides whether there is a tool that may be used at p.
func (l Limits) anything(p place) Verdict {
	refused := l.use(unknown, p)
	if refused.Allowed {
		return refused
	}
	for _, t := range forgeapi.AllTools() {
		v := l.use(t, p)
		if v.Allowed {
			return v
		}
		refused.or(v)
	}
	return refused
}

// ReadOnly reports whether nothing may be changed at all, with no tool.
func (l Limits) ReadOnly() bool {
	changes := func(t forgeapi.Tool) bool { return l.may(t, true, somewhere).Allowed }
	return !changes(unknown) && !slices.ContainsFunc(forgeapi.AllTools(), changes)
}

// may returns the first refusal.
func (l Limits) may(t forgeapi.Tool, write bool, p place) Verdict {
	for i := range l {
		if v := l[i].may(t, write, p); !v.Allowed {
			return v
		}
	}
	return allowed
}

// place is what something is done to.
type place struct {
	repositories, owners []string // in lower case
	across               bool
}

// somewhere is any one place: what is decided of it is whether there is one at all.
var somewhere place

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

// denied reports whether d covers anything at p, or everything.
func (p *place) denied(d *Cover) bool {
	if d.allRepositories() || p.across {
		return true
	}
	for _, repo := range p.repositories {
		if d.hasOneOf(repo) {
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

// hasOneOf is hasRepository, and of owner/* whether it covers any repository of that owner.
func (c *Cover) hasOneOf(repo string) bool {
	owner, some := strings.CutSuffix(repo, "/"+forgeapi.AnyOf)
	return c.hasRepository(repo) || some && slices.ContainsFunc(c.Repositories, func(r string) bool { return strings.HasPrefix(r, owner+"/") })
}
