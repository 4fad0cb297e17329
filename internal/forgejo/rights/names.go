package rights

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

const (
	// lookUpsAtOnce bounds what the forge is asked at a time.
	lookUpsAtOnce = 8
	// lookUpAgain is how soon a name that could not be looked up is again.
	lookUpAgain = 30 * time.Second
)

// toLookUp are the names of a document that mean whoever the forge says.
func toLookUp(doc *policy.Document) (list []policy.Subject) {
	for _, s := range doc.Names() {
		if s.ID == 0 && s.Kind != policy.Team {
			list = append(list, s)
		}
	}
	return list
}

func (r *Rights) storedIDs(ctx context.Context) (map[policy.Subject]int64, error) {
	names, err := r.cfg.Store.PolicyNames(ctx)
	ids := make(map[policy.Subject]int64, len(names))
	for _, n := range names {
		ids[policy.Subject{Kind: policy.Kind(n.Kind), Text: n.Name}] = n.ID
	}
	return ids, err
}

func (r *Rights) store(ctx context.Context, ids map[policy.Subject]int64) error {
	list := make([]store.PolicyName, 0, len(ids))
	for s, id := range ids {
		list = append(list, store.PolicyName{Kind: string(s.Kind), Name: s.Text, ID: id})
	}
	return r.cfg.Store.SetPolicyNames(ctx, list)
}

// LookUp asks the forge for the id of a user or an organization by name, without a login; 0
// if none can be seen so. The error is a *forgejo.Error.
func (r *Rights) LookUp(ctx context.Context, s policy.Subject) (int64, error) {
	if s.Kind == policy.Organization {
		return r.cfg.Forgejo.OrganizationID(ctx, s.Text)
	}
	return r.cfg.Forgejo.UserID(ctx, s.Text)
}

// found is what the forge says of a name.
type found struct {
	id  int64
	err error
}

// lookUpAll asks for all names, several at a time.
func (r *Rights) lookUpAll(ctx context.Context, list []policy.Subject) []found {
	all := make([]found, len(list))
	var group errgroup.Group
	group.SetLimit(lookUpsAtOnce)
	for i, s := range list {
		group.Go(func() error {
			all[i].id, all[i].err = r.LookUp(ctx, s)
			return nil
		})
	}
	_ = group.Wait()
	return all
}

// resolve looks up the document's names, and holds them against what was stored. While the
// forge does not answer what is stored stands.
func (r *Rights) resolve(ctx context.Context, doc *policy.Document, stored map[policy.Subject]int64) (map[policy.Subject]int64, []string) {
	list := toLookUp(doc)
	ids, wrong := map[policy.Subject]int64{}, map[policy.Subject]string{}
	for i, f := range r.lookUpAll(ctx, list) {
		s, was := list[i], stored[list[i]]
		if ids[s] = f.id; f.err != nil {
			ids[s] = was
		}
		if fault := nameFault(s, was, f); fault != "" {
			wrong[s] = fault
		}
	}
	return ids, located(doc, wrong)
}

// nameFault says what is wrong with a name, "" if nothing is.
func nameFault(s policy.Subject, was int64, f found) string {
	switch {
	case isDown(f.err) && was == 0:
		return fmt.Sprintf("%q was never looked up and the forge cannot be asked now: try again, or write %s#ID (%v)", s.Text, s.Text, f.err)
	case f.err != nil && was == 0:
		return fmt.Sprintf("%q cannot be looked up: %v", s.Text, f.err)
	case f.err != nil:
		return ""
	case f.id == 0 && was != 0:
		return fmt.Sprintf("nobody can be seen at the forge as %q now, which was id %d: if that account or organization is meant, write %s#%d", s.Text, was, s.Text, was)
	case f.id == 0:
		return fmt.Sprintf("no %s %q can be seen at the forge without a login: correct the name, or write %s#ID (fjmcpctl policy explain --user NAME shows the ids of users who have logged in, and of what they are members of)",
			s.Kind, s.Text, s.Text)
	case was != 0 && f.id != was:
		return fmt.Sprintf("%q was id %d and is id %d at the forge now, so somebody else has the name: if that is meant, write %s#%d", s.Text, was, f.id, s.Text, f.id)
	}
	return ""
}

// located puts before each fault the line of the rules that name its subject.
func located(doc *policy.Document, wrong map[policy.Subject]string) (faults []string) {
	for _, rule := range doc.Rules {
		for _, list := range []struct {
			kind  policy.Kind
			names []policy.Name
		}{{policy.User, rule.Users}, {policy.Organization, rule.Organizations}} {
			for _, n := range list.names {
				if fault := wrong[policy.Subject{Kind: list.kind, Text: n.Text, ID: n.ID}]; fault != "" {
					faults = append(faults, fmt.Sprintf("line %d: %ss: %s", rule.Line, list.kind, fault))
				}
			}
		}
	}
	return faults
}

// namesAtWork is the search for names that were never looked up.
type namesAtWork struct {
	mu     sync.Mutex
	closed bool
	stop   context.CancelFunc // of the search under way; nil for none
	work   sync.WaitGroup
}

// Close ends what goes on beside. Nothing may be loaded any more.
func (r *Rights) Close() {
	if r == nil {
		return
	}
	r.names.mu.Lock()
	r.names.closed = true
	r.names.mu.Unlock()
	r.names.search(nil)
	r.names.work.Wait()
}

// search ends a search under way, and begins another.
func (n *namesAtWork) search(do func(context.Context)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stop != nil {
		n.stop()
		n.stop = nil
	}
	if do != nil && !n.closed {
		var ctx context.Context
		ctx, n.stop = context.WithCancel(context.Background())
		n.work.Go(func() { do(ctx) })
	}
}

// lookUpBeside asks for in's unknown names until all are known.
func (r *Rights) lookUpBeside(in *ruling) {
	if len(in.unknown) == 0 {
		r.names.search(nil)
		return
	}
	r.names.search(func(ctx context.Context) {
		for ctx.Err() == nil {
			wait := r.lookUpOnce(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	})
}

// lookUpOnce asks for the names that are unknown now, and returns how soon to ask again.
func (r *Rights) lookUpOnce(ctx context.Context) (wait time.Duration) {
	in := r.policy.Load()
	if in == nil {
		return askAgain
	}
	ids, example, last := map[policy.Subject]int64{}, "", error(nil)
	wait = askAgain
	for i, f := range r.lookUpAll(ctx, in.unknown) {
		if s := in.unknown[i]; f.err == nil && f.id != 0 {
			ids[s] = f.id
		} else {
			example, last = string(s.Kind)+" "+s.Text, f.err
		}
		if f.err != nil {
			wait = lookUpAgain
		}
	}
	if n := len(in.unknown) - len(ids); n > 0 && ctx.Err() == nil {
		r.cfg.Log.Warn("names of the policy grant nobody anything, since they cannot be looked up at the forge", "names", n, "such_as", example, "again_in", wait, "error", last)
	}
	r.add(ctx, ids)
	return wait
}

// learn takes the name of a user who logs in from what the forge has just said.
func (r *Rights) learn(ctx context.Context, user model.User) {
	s := policy.Subject{Kind: policy.User, Text: strings.ToLower(user.Name)}
	if in := r.policy.Load(); in == nil || !slices.Contains(in.unknown, s) {
		return
	}
	if id := (&person{user: user}).asMember().ID; id != 0 {
		r.add(ctx, map[policy.Subject]int64{s: id})
	}
}

// add puts the policy in force with names that are known by now. Those that have become
// known meanwhile stay what they are.
func (r *Rights) add(ctx context.Context, ids map[policy.Subject]int64) {
	if len(ids) == 0 {
		return
	}
	r.loading.Lock()
	defer r.loading.Unlock()
	in := r.policy.Load()
	if in == nil {
		return
	}
	all := maps.Clone(in.ids)
	for _, s := range in.unknown {
		if id := ids[s]; id != 0 {
			all[s] = id
		}
	}
	if err := r.put(ctx, in.doc, all); err != nil && ctx.Err() == nil {
		r.cfg.Log.Error("cannot take over whom names of the policy mean", "error", err)
	}
}
