package rights

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// Refused says that the policy lets a user do nothing at all. It is model.ErrPolicy.
type Refused struct {
	Rule string // that denies it; "" where none grants anything
}

// Error says so to the operator.
func (e *Refused) Error() string {
	if e.Rule == "" {
		return "no rule of the policy grants this user anything"
	}
	return fmt.Sprintf("the rule %q of the policy denies this user everything", e.Rule)
}

// Unwrap is for errors.Is.
func (e *Refused) Unwrap() error { return model.ErrPolicy }

// AtLogin returns what a user who has just logged in at the forge, with that token, may do,
// as model.Grant.Ceiling keeps it. Errors: *Refused, those of forgejo.Client.Membership, or
// the store's.
func (r *Rights) AtLogin(ctx context.Context, user model.User, accessToken string) (ceiling string, err error) {
	if r == nil || r.policy.Load() == nil {
		return "", nil
	}
	r.learn(ctx, user)
	if err := r.meet(ctx, user); err != nil {
		return "", err
	}
	if in := r.policy.Load(); in != nil && in.asks {
		a := r.ask(ctx, user, accessToken)
		if a.err != nil && !unanswerable(a.err) {
			return "", a.err
		}
		r.note(ctx, user, a)
	}
	r.mu.Lock()
	today := r.todayLocked(r.personLocked(user))
	r.mu.Unlock()
	if today == nil { // the policy went meanwhile
		return "", nil
	}
	if v := (policy.Limits{*today}).Connect(); !v.Allowed {
		return "", &Refused{Rule: v.Rule}
	}
	text, err := json.Marshal(today)
	return string(text), err
}
