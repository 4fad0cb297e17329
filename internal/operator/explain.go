package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// ExplainPolicy implements admin.Operator.
func (o *Operator) ExplainPolicy(ctx context.Context, q admin.PolicyQuestion) (admin.PolicyAnswer, error) {
	asked, err := question(q)
	if err != nil {
		return admin.PolicyAnswer{}, err
	}
	d, err := o.somebody(ctx, q.User)
	if err != nil {
		return admin.PolicyAnswer{}, err
	}
	e, err := o.cfg.Rights.Explain(ctx, d.UserID, asked)
	if err != nil {
		return admin.PolicyAnswer{}, err
	}
	a := admin.PolicyAnswer{
		User: d.User.User, UserID: d.UserID, Policy: o.policy.inForce() != nil, Allowed: e.Allowed, Rule: e.Rule, Rules: []admin.PolicyRule{},
		Member: admin.PolicyMember{Asked: e.Member.AskedAt, Counts: e.Known, Administrator: e.Member.Administrator, Organizations: namedOf(e.Member.Organizations), Teams: namedOf(e.Member.Teams)},
	}
	a.Allowed = a.Allowed || !a.Policy
	for _, m := range e.Rules {
		a.Rules = append(a.Rules, ruleOf(m, asked))
	}
	a.Logins, err = o.logins(ctx, e.User, d, asked)
	return a, err
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

func question(q admin.PolicyQuestion) (policy.Question, error) {
	if q.Repository != "" && !repositoryName.MatchString(q.Repository) {
		return policy.Question{}, &admin.Error{Text: fmt.Sprintf("%q is no repository: want owner/name", q.Repository)}
	}
	if _, known := forgeapi.ToolNamed(q.Tool); q.Tool != "" && !known {
		return policy.Question{}, &admin.Error{Text: fmt.Sprintf("there is no tool or resource template %q; docs/tools.md lists all", q.Tool), NotFound: true}
	}
	return policy.Question{Tool: q.Tool, Repository: strings.ToLower(q.Repository)}, nil
}

// somebody is find, also for who was never here.
func (o *Operator) somebody(ctx context.Context, who string) (admin.UserDetail, error) {
	d, err := o.find(ctx, who)
	var fault *admin.Error
	if !errors.As(err, &fault) || !fault.NotFound {
		return d, err
	}
	if subject, byNumber := strings.CutPrefix(who, admin.IDPrefix); byNumber {
		d.UserID = subject
		return d, nil
	}
	id, err := o.cfg.Rights.LookUp(ctx, policy.Subject{Kind: policy.User, Text: strings.ToLower(who)})
	switch {
	case err != nil:
		return d, &admin.Error{Text: fmt.Sprintf("there is no user %q here, and the forge cannot be asked: %v", who, err)}
	case id == 0:
		return d, &admin.Error{Text: fmt.Sprintf("there is no user %q here, and nobody who is not logged in can see one at the forge; for one of a number use %s7", who, admin.IDPrefix), NotFound: true}
	}
	d.User.User, d.UserID = who, strconv.FormatInt(id, 10)
	return d, nil
}

func namedOf(all []model.Named) []admin.PolicyNamed {
	list := make([]admin.PolicyNamed, len(all))
	for i, n := range all {
		list[i] = admin.PolicyNamed{ID: n.ID, Name: n.Name}
	}
	return list
}

func ruleOf(m policy.Match, q policy.Question) admin.PolicyRule {
	r := admin.PolicyRule{
		Name: m.Name, Deny: m.Deny, Line: m.Line, By: m.By, Decides: m.Decides, Misses: []string{},
		Covers: covers(m.Deny, policy.Cover{ReadOnly: m.ReadOnly, WritesOnly: m.WritesOnly, Toolsets: m.Toolsets, Tools: m.Tools, Repositories: m.Repositories, Owners: m.Owners}),
	}
	for _, c := range []struct {
		what   string
		covers bool
	}{{"access", m.Access}, {"tool", m.Tool}, {"repository", m.Place}} {
		if !c.covers && (c.what != "repository" || q.Repository != "") {
			r.Misses = append(r.Misses, c.what)
		}
	}
	return r
}

// covers says in words what a rule or a bound is about.
func covers(deny bool, c policy.Cover) string {
	access := map[bool]string{true: "reading", false: "reading and writing"}[c.ReadOnly]
	if deny && c.WritesOnly {
		access = "writing"
	}
	tools, places := "all tools", "everywhere"
	if len(c.Toolsets)+len(c.Tools) > 0 {
		tools = ""
		if len(c.Toolsets) > 0 {
			tools = "toolsets " + strings.Join(c.Toolsets, " ")
		}
		if len(c.Tools) > 0 {
			tools = strings.TrimPrefix(tools+" and tools "+strings.Join(c.Tools, " "), " and ")
		}
	}
	if len(c.Repositories)+len(c.Owners) > 0 {
		var all []string
		for _, owner := range c.Owners {
			all = append(all, owner+"/*")
		}
		places = "in " + strings.Join(append(all, c.Repositories...), " ")
	}
	return access + ", " + tools + ", " + places
}

// logins are those of a user that stand, each with what it may do at most.
func (o *Operator) logins(ctx context.Context, user model.User, d admin.UserDetail, q policy.Question) ([]admin.PolicyLogin, error) {
	list := []admin.PolicyLogin{}
	for _, g := range d.Grants {
		row, err := o.cfg.Store.Grant(ctx, g.ID)
		if errors.Is(err, model.ErrNotFound) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return list, err
		}
		now, err := o.cfg.Rights.Standing(ctx, user.ID, g.ID)
		if err != nil {
			return list, err
		}
		v := q.Decide(now.Limits)
		l := admin.PolicyLogin{Grant: g.ID, Client: g.Client, Created: g.Created, Allowed: v.Allowed, Rule: v.Rule, Covers: []string{}}
		if row.Ceiling != "" {
			l.Bound = &policy.Rights{}
			_ = json.Unmarshal([]byte(row.Ceiling), l.Bound) // else it allows nothing
			for _, c := range l.Bound.Grants {
				l.Covers = append(l.Covers, covers(false, c))
			}
			for _, c := range l.Bound.Denials {
				l.Covers = append(l.Covers, "but not: "+covers(true, c)+" ("+c.Rule+")")
			}
		}
		list = append(list, l)
	}
	return list, nil
}
