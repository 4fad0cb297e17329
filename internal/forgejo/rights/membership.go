package rights

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

const (
	// askAgain is how long the forge's word about a user's membership counts.
	askAgain = 10 * time.Minute
	// askAgainAfterFailure is how soon the forge is asked again that did not answer.
	askAgainAfterFailure = 30 * time.Second
	// askTimeout bounds a question, for which a call waits.
	askTimeout = 5 * time.Second
)

// dueLocked reports whether the forge is to be asked about p.
func (r *Rights) dueLocked(p *person) bool {
	in := r.policy.Load()
	if in == nil || !in.asks {
		return false
	}
	wait := askAgain
	if !p.known {
		wait = askAgainAfterFailure
	}
	since := r.cfg.Now().Sub(p.tried)
	return since >= wait || since < 0 // a clock that was set back
}

// askIfDue asks the forge if its word about the user does not count any more, once for all
// who need to know at a time. That it does not answer is no error: then nothing is known.
// The error is ctx's.
func (r *Rights) askIfDue(ctx context.Context, user model.User) error {
	if !r.due(user.ID) {
		return nil
	}
	answer := r.questions.DoChan(user.ID, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		if r.due(user.ID) { // still, after another's
			r.note(ctx, user, r.question(ctx, user))
		}
		return nil, nil
	})
	select {
	case <-answer:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Rights) due(userID string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p := r.people[userID]
	return p != nil && r.dueLocked(p)
}

// answer is what came of a question.
type answer struct {
	member model.Membership
	err    error
}

func (r *Rights) question(ctx context.Context, user model.User) answer {
	set, err := r.cfg.Tokens.Token(ctx, user.ID)
	if err != nil {
		return answer{err: err}
	}
	return r.ask(ctx, user, set.AccessToken)
}

func (r *Rights) ask(ctx context.Context, user model.User, accessToken string) answer {
	at := r.cfg.Now()
	m, err := r.cfg.Forgejo.Membership(ctx, accessToken, user.Subject)
	m.UserID, m.AskedAt = user.ID, at
	return answer{m, err}
}

// note takes an answer over, and tells of what it changes.
func (r *Rights) note(ctx context.Context, user model.User, a answer) {
	if a.err != nil {
		r.cfg.Log.WarnContext(ctx, "cannot ask the forge what a user is a member of; rules that grant by it do not apply meanwhile", "user", user.Name, "error", a.err)
	} else if err := r.cfg.Store.PutMembership(ctx, a.member); err != nil {
		r.cfg.Log.WarnContext(ctx, "the next process will not know what a user is a member of", "user", user.Name, "error", err)
	}
	r.mu.Lock()
	p := r.personLocked(user)
	was, wasKnown := p.member, p.known
	p.known, p.tried = a.err == nil, r.cfg.Now()
	if p.known {
		p.member = a.member
	}
	changed := p.known != wasKnown || p.known && !same(was, p.member)
	if changed {
		p.forgetLocked()
	}
	r.mu.Unlock()
	if !changed {
		return
	}
	if told := difference(was, a.member); a.err == nil && !was.AskedAt.IsZero() && told != "" {
		r.cfg.Audit.Event(ctx, audit.Event{Kind: audit.MembershipChanged, User: user.Name, UserID: user.Subject, Outcome: "ok", Detail: told})
	}
	r.notify(user.ID)
}

// same reports whether rules see no difference.
func same(a, b model.Membership) bool {
	return a.Administrator == b.Administrator && sameNumbers(a.Organizations, b.Organizations) && sameNumbers(a.Teams, b.Teams)
}

func sameNumbers(a, b []model.Named) bool { return len(lost(a, b)) == 0 && len(lost(b, a)) == 0 }

// lost are those of was that are not in is.
func lost(was, is []model.Named) (gone []model.Named) {
	ids := map[int64]bool{}
	for _, n := range is {
		ids[n.ID] = true
	}
	return slices.DeleteFunc(slices.Clone(was), func(n model.Named) bool { return ids[n.ID] })
}

// difference tells the operator what a user has lost and gained.
func difference(was, is model.Membership) string {
	var parts []string
	tell := func(verb, what string, list []model.Named) {
		for _, n := range list {
			parts = append(parts, fmt.Sprintf("%s %s %s#%d", verb, what, n.Name, n.ID))
		}
	}
	tell("lost", "organization", lost(was.Organizations, is.Organizations))
	tell("lost", "team", lost(was.Teams, is.Teams))
	tell("gained", "organization", lost(is.Organizations, was.Organizations))
	tell("gained", "team", lost(is.Teams, was.Teams))
	switch {
	case was.Administrator && !is.Administrator:
		parts = append(parts, "is no site administrator any more")
	case is.Administrator && !was.Administrator:
		parts = append(parts, "is a site administrator now")
	}
	return strings.Join(parts, ", ")
}

// unanswerable reports whether asking again, or later, does not help: the user's grant at
// the forge opens less than the question needs.
func unanswerable(err error) bool {
	var e *forgejo.Error
	return errors.As(err, &e) && e.Kind == forgejo.Denied && e.Status == http.StatusForbidden
}

func notFoundIsNil(err error) error {
	if errors.Is(err, model.ErrNotFound) {
		return nil
	}
	return err
}
