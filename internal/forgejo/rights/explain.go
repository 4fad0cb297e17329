package rights

import (
	"context"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// Explanation says what somebody may do by the policy of today, and why.
type Explanation struct {
	policy.Explanation
	User   model.User       // without an ID for one who has never logged in
	Member model.Membership // as the forge said last; its AskedAt is zero where it never did
	Known  bool             // it counts: the forge could be asked when it was asked last
}

// Explain answers q for the user of that number at the forge. Without a policy it tells of
// memberships alone. The forge is asked only where it never was; else what it said last
// counts, however long ago. The error is the store's, or says that the rules that match are
// too many.
func (r *Rights) Explain(ctx context.Context, subject string, q policy.Question) (e Explanation, err error) {
	e.User, err = r.cfg.Store.UserNumbered(ctx, r.cfg.Forgejo.Origin(), subject)
	if err = notFoundIsNil(err); err != nil {
		return e, err
	}
	e.User.Subject = subject
	p := person{user: e.User}
	if e.User.ID != "" {
		if err := r.meet(ctx, e.User); err != nil {
			return e, err
		}
		r.mu.RLock()
		if known := r.people[e.User.ID]; known != nil {
			p.member, p.known = known.member, known.known
		}
		r.mu.RUnlock()
		if p.member.AskedAt.IsZero() {
			p.member, p.known = r.first(ctx, e.User)
		}
	}
	e.Member, e.Known = p.member, p.known
	if in := r.policy.Load(); in != nil {
		e.Explanation, err = in.rules.Explain(p.asMember(), q)
	}
	return e, err
}

// first asks the forge about a user of whom it has not told yet, and keeps the answer.
func (r *Rights) first(ctx context.Context, user model.User) (model.Membership, bool) {
	within, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	a := r.question(within, user)
	if a.err != nil {
		return model.Membership{}, false
	}
	if err := r.cfg.Store.PutMembership(ctx, a.member); err != nil {
		r.cfg.Log.WarnContext(ctx, "cannot keep what a user is a member of", "user", user.Name, "error", err)
	}
	return a.member, true
}

// Idle returns the names of doc's rules that are for nobody who has logged in, as far as
// that is known: by id, or by name where the id is not known.
func (r *Rights) Idle(ctx context.Context, doc *policy.Document) (names []string, err error) {
	if doc == nil {
		return nil, nil
	}
	here, err := r.subjects(ctx)
	if err != nil {
		return nil, err
	}
	for _, rule := range doc.Rules {
		if !here.any(rule) {
			names = append(names, rule.Name)
		}
	}
	return names, nil
}

// subjects are those that users who have logged in are, or are members of.
type subjects struct {
	byID, byName   map[policy.Subject]bool // with Text "", and with ID 0
	administrators bool
	stored         map[policy.Subject]int64
}

func (r *Rights) subjects(ctx context.Context) (s subjects, err error) {
	s = subjects{byID: map[policy.Subject]bool{}, byName: map[policy.Subject]bool{}}
	if s.stored, err = r.storedIDs(ctx); err != nil {
		return s, err
	}
	users, err := r.cfg.Store.Users(ctx)
	if err != nil {
		return s, err
	}
	for _, u := range users {
		id, _ := strconv.ParseInt(u.Subject, 10, 64)
		s.add(policy.User, model.Named{ID: id, Name: u.Name})
	}
	members, err := r.cfg.Store.Memberships(ctx)
	for _, m := range members {
		s.administrators = s.administrators || m.Administrator
		s.add(policy.Organization, m.Organizations...)
		s.add(policy.Team, m.Teams...)
	}
	return s, err
}

func (s *subjects) add(kind policy.Kind, all ...model.Named) {
	for _, n := range all {
		s.byID[policy.Subject{Kind: kind, ID: n.ID}] = true
		s.byName[policy.Subject{Kind: kind, Text: strings.ToLower(n.Name)}] = true
	}
}

// any reports whether a rule is for one of them.
func (s *subjects) any(rule policy.Rule) bool {
	if rule.Everyone || rule.Administrators && s.administrators {
		return true
	}
	doc := policy.Document{Rules: []policy.Rule{rule}}
	for _, name := range doc.Names() {
		if name.ID == 0 {
			name.ID = s.stored[name]
		}
		if name.ID == 0 && s.byName[name] || name.ID != 0 && s.byID[policy.Subject{Kind: name.Kind, ID: name.ID}] {
			return true
		}
	}
	return false
}
