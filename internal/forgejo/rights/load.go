package rights

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// Start puts the policy in force with which the broker starts; nil is none. Whom its names
// mean is what was stored; the forge need not answer, and is asked beside about names that
// were never looked up, until Close. The error is a *policy.Error with what is wrong with the
// document, or the store's.
func (r *Rights) Start(ctx context.Context, doc *policy.Document) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	if doc == nil {
		r.enforce(nil)
		return nil
	}
	if faults := append(r.scopeFaults(doc), r.teamFaults(ctx, doc)...); len(faults) > 0 {
		return &policy.Error{Faults: faults}
	}
	stored, err := r.storedIDs(ctx)
	if err != nil {
		return err
	}
	ids := map[policy.Subject]int64{}
	for _, s := range toLookUp(doc) {
		if id := stored[s]; id != 0 {
			ids[s] = id
		}
	}
	return r.put(ctx, doc, ids)
}

// Check says what is wrong with a document, for which the forge is asked about each name
// that is not pinned. The error is a *policy.Error with all faults, or the store's.
func (r *Rights) Check(ctx context.Context, doc *policy.Document) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	_, err := r.check(ctx, doc)
	return err
}

// Load puts a document in force, nil for none, if Check finds nothing wrong with it. After
// an error the policy is what it was.
func (r *Rights) Load(ctx context.Context, doc *policy.Document) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	if doc == nil {
		r.enforce(nil)
		return nil
	}
	ids, err := r.check(ctx, doc)
	if err != nil {
		return err
	}
	return r.put(ctx, doc, ids)
}

func (r *Rights) check(ctx context.Context, doc *policy.Document) (map[policy.Subject]int64, error) {
	stored, err := r.storedIDs(ctx)
	if err != nil {
		return nil, err
	}
	faults := append(r.scopeFaults(doc), r.teamFaults(ctx, doc)...)
	ids, more := r.resolve(ctx, doc, stored)
	if faults = append(faults, more...); len(faults) > 0 {
		return nil, &policy.Error{Faults: faults}
	}
	return ids, nil
}

// put stores whom the document's names mean, and puts it in force.
func (r *Rights) put(ctx context.Context, doc *policy.Document, ids map[policy.Subject]int64) error {
	if err := r.store(ctx, ids); err != nil {
		return err
	}
	in := &ruling{doc: doc, ids: ids, asks: doc.ByMembership(), loadedAt: r.cfg.Now()}
	for _, s := range toLookUp(doc) {
		if ids[s] == 0 {
			in.unknown = append(in.unknown, s)
		}
	}
	in.rules = r.provisional(ctx, in).Compile(ids)
	r.enforce(in)
	r.lookUpBeside(in)
	return nil
}

// enforce has all be decided by in from now on.
func (r *Rights) enforce(in *ruling) {
	r.mu.Lock()
	r.policy.Store(in)
	for _, p := range r.people {
		p.forgetLocked()
	}
	r.mu.Unlock()
	r.notify("")
}

// provisional is the document in which denials are pinned to whom the broker itself knows by
// a name that was never looked up. A grant has to wait until it is.
func (r *Rights) provisional(ctx context.Context, in *ruling) *policy.Document {
	if len(in.unknown) == 0 {
		return in.doc
	}
	known := map[string]int64{}
	for _, s := range in.unknown {
		if s.Kind != policy.User {
			continue
		}
		if user, err := r.cfg.Store.UserNamed(ctx, r.cfg.Forgejo.Origin(), s.Text); err == nil {
			known[s.Text] = (&person{user: user}).asMember().ID
		}
	}
	doc := &policy.Document{}
	for _, rule := range in.doc.Rules {
		if rule.Deny {
			users := make([]policy.Name, len(rule.Users))
			for i, n := range rule.Users {
				if users[i] = n; n.ID == 0 {
					users[i].ID = known[n.Text]
				}
			}
			rule.Users = users
		}
		doc.Rules = append(doc.Rules, rule)
	}
	return doc
}

// scopeFaults says which questions about membership the scope does not open.
func (r *Rights) scopeFaults(doc *policy.Document) (faults []string) {
	for _, need := range []struct {
		what  string
		scope []string
		by    func(policy.Rule) bool
	}{
		{"organizations", forgejo.OrganizationScope, func(rule policy.Rule) bool { return len(rule.Organizations) > 0 }},
		{"teams", forgejo.TeamScope, func(rule policy.Rule) bool { return len(rule.Teams) > 0 }},
		{"administrators", forgejo.AdministratorScope, func(rule policy.Rule) bool { return rule.Administrators }},
	} {
		if r.cfg.Forgejo.MayAsk(need.scope) {
			continue
		}
		for _, rule := range doc.Rules {
			if need.by(rule) {
				faults = append(faults, fmt.Sprintf("line %d: %s: the forge tells of them only with the scope %s: add it to FJMCP_BROKER_FORGEJO_SCOPES, or name users",
					rule.Line, need.what, strings.Join(need.scope, " ")))
			}
		}
	}
	return faults
}

// teamFaults says which teams are not pinned: nobody can look them up who is not logged in.
func (r *Rights) teamFaults(ctx context.Context, doc *policy.Document) (faults []string) {
	var told map[string]int64
	for _, rule := range doc.Rules {
		for _, n := range rule.Teams {
			if n.ID != 0 {
				continue
			}
			if told == nil {
				told = r.toldTeams(ctx)
			}
			cure := "fjmcpctl policy explain --user NAME shows the ids of what a user who has logged in is a member of"
			if id := told[n.Text]; id != 0 {
				cure = fmt.Sprintf("a member's login has told that it is %s#%d", n.Text, id)
			}
			faults = append(faults, fmt.Sprintf("line %d: teams: %q cannot be looked up without a login, so write %s#ID: %s", rule.Line, n.Text, n.Text, cure))
		}
	}
	return faults
}

// toldTeams are the teams that logins have told of.
func (r *Rights) toldTeams(ctx context.Context) map[string]int64 {
	told := map[string]int64{}
	members, err := r.cfg.Store.Memberships(ctx)
	if err != nil {
		r.cfg.Log.WarnContext(ctx, "cannot look which teams there are", "error", err)
	}
	for _, m := range members {
		for _, t := range m.Teams {
			told[strings.ToLower(t.Name)] = t.ID
		}
	}
	return told
}

// Status is how the policy stands.
type Status struct {
	InForce  bool
	Rules    int
	LoadedAt time.Time
	// Unknown are names that the forge has not told about yet: nobody is granted anything
	// by them.
	Unknown []string
}

// Status tells.
func (r *Rights) Status() (s Status) {
	if r == nil {
		return s
	}
	in := r.policy.Load()
	if in == nil {
		return s
	}
	s = Status{InForce: true, Rules: len(in.doc.Rules), LoadedAt: in.loadedAt}
	for _, u := range in.unknown {
		s.Unknown = append(s.Unknown, string(u.Kind)+" "+u.Text)
	}
	return s
}

// isDown reports whether err says that the forge does not answer.
func isDown(err error) bool { return errors.Is(err, model.ErrForgejoDown) }
