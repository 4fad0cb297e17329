package tokens

import (
	"context"
	"errors"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// settle is how long a login that has just killed the refresh token gets to
// store its own set before the refusal is believed.
const settle = 300 * time.Millisecond

// refreshNow asks Forgejo, with the lease held.
func (t *Tokens) refreshNow(ctx context.Context, userID string, set model.ForgejoTokens) (model.ForgejoTokens, error) {
	next, err := t.cfg.Forgejo.Refresh(ctx, set)
	switch {
	case err == nil:
		if next, err = t.keep(ctx, userID, next); err == nil {
			t.cfg.Refreshed()
			t.askWho(userID, next)
		}
		return next, err
	case errors.Is(err, model.ErrForgejoGrantDead):
		return t.refused(ctx, userID, set, err)
	}
	t.report(ctx, userID, err)
	return model.ForgejoTokens{}, err
}

// keep stores a refreshed set, unless the user's set was deleted meanwhile, which is to
// stay so. When that fails and Forgejo rotates, the user will have to log in again, which
// is why it is audited.
func (t *Tokens) keep(ctx context.Context, userID string, next model.ForgejoTokens) (model.ForgejoTokens, error) {
	stored, err := t.store(ctx, userID, next, t.cfg.Store.RenewForgejoTokens)
	switch {
	case errors.Is(err, model.ErrNotFound):
		err = model.ErrForgejoGrantDead
	case err != nil:
		t.event(ctx, userID, "not_stored", "forgejo answered with a new token set and it could not be stored")
	}
	return stored, err
}

// whoTimeout bounds a question that nobody waits for the answer of.
const whoTimeout = 10 * time.Second

// askWho has Forgejo tell, beside the caller, what the user is called by now.
func (t *Tokens) askWho(userID string, set model.ForgejoTokens) {
	t.work.Go(func() {
		ctx, cancel := context.WithTimeout(t.ctx, whoTimeout)
		defer cancel()
		if known, err := t.cfg.Forgejo.Introspect(ctx, set.AccessToken); err == nil {
			t.learn(ctx, userID, known.Identity)
		}
	})
}

// learn records the user's login name of now.
func (t *Tokens) learn(ctx context.Context, userID string, who forgejo.Identity) {
	user, err := t.cfg.Store.User(ctx, userID)
	if err != nil || who.Subject != user.Subject || who.Name == "" || who.Name == user.Name {
		return
	}
	if _, err := t.cfg.Store.UpsertUser(ctx, user.Forge, user.Subject, who.Name); err != nil {
		t.cfg.Log.WarnContext(ctx, "cannot record a user's new login name", "user_id", user.Subject, "user", who.Name, "error", err)
		return
	}
	t.cfg.Log.InfoContext(ctx, "a user has another login name at forgejo", "user_id", user.Subject, "was", user.Name, "user", who.Name)
}

// refused handles a definite refusal of set. The cause may be a login that has
// replaced it, here or in another process: then its set is the answer. Else the
// user's grant is dead, or an answer of Forgejo was lost after it had rotated.
func (t *Tokens) refused(ctx context.Context, userID string, set model.ForgejoTokens, cause error) (model.ForgejoTokens, error) {
	for _, pause := range []time.Duration{0, settle} {
		if err := sleep(ctx, pause); err != nil {
			return model.ForgejoTokens{}, err
		}
		stored, err := t.Stored(ctx, userID)
		if err != nil || stored.RefreshToken != set.RefreshToken {
			return stored, err
		}
	}
	dropped, err := t.drop(ctx, userID, set.RefreshToken, forgejo.GrantDead)
	if err != nil {
		return model.ForgejoTokens{}, err
	}
	if !dropped {
		return t.Stored(ctx, userID)
	}
	t.report(ctx, userID, cause)
	return model.ForgejoTokens{}, cause
}

// report writes a failed refresh to the log and the audit trail.
func (t *Tokens) report(ctx context.Context, userID string, err error) {
	outcome := "error"
	var e *forgejo.Error
	if errors.As(err, &e) {
		outcome = e.Kind.String()
	}
	t.event(ctx, userID, outcome, err.Error())
}

func (t *Tokens) event(ctx context.Context, userID, outcome, detail string) {
	user := t.cfg.Store.Known(ctx, userID)
	t.cfg.Log.WarnContext(ctx, "forgejo refresh failed", "user", user.Name, "outcome", outcome, "detail", detail)
	t.audit(ctx, user, outcome, detail)
}

func (t *Tokens) audit(ctx context.Context, user model.User, outcome, detail string) {
	t.cfg.Audit.Event(ctx, audit.Event{
		Kind: audit.ForgejoRefresh, User: user.Name, UserID: user.Subject, Outcome: outcome, Detail: detail, Failed: true,
	})
}

// recentlyDown returns the remembered failure while it is fresh.
func (t *Tokens) recentlyDown(userID string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.down[userID]
	if !ok || t.cfg.Now().Sub(f.at) >= retryAfterDown {
		return nil
	}
	return f.err
}

// noteDown remembers err if it says that Forgejo is down and forgets an older
// one otherwise.
func (t *Tokens) noteDown(userID string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !errors.Is(err, model.ErrForgejoDown) {
		delete(t.down, userID)
		return
	}
	t.down[userID] = failure{at: t.cfg.Now(), err: err}
}

// Suspended asks Forgejo whether the user, whose requests it answers with 403, may
// not sign in any more: it continues to refresh such a user's tokens, and only its
// API tells. Then the user's set is dropped, so that the user's clients get 401
// until a new login succeeds. Forgejo is asked once in 10 s at most, since 403 is also
// what forgejo-mcp gets at will. Errors are those of Token, or say that Forgejo could
// not be asked.
func (t *Tokens) Suspended(ctx context.Context, userID string) (bool, error) {
	set, err := t.Token(ctx, userID)
	if err != nil {
		return false, err
	}
	signIn := userID + "\x00may sign in"
	if t.isVouched(signIn, set.AccessToken) {
		return false, nil
	}
	_, err = t.cfg.Forgejo.Identity(ctx, set.AccessToken)
	if err == nil {
		t.vouch(signIn, set.AccessToken)
	}
	var e *forgejo.Error
	if !errors.As(err, &e) || e.Kind != forgejo.Suspended {
		return false, err
	}
	dropped, err := t.drop(ctx, userID, set.RefreshToken, forgejo.Suspended)
	if err != nil || !dropped {
		return false, err
	}
	t.audit(ctx, t.cfg.Store.Known(ctx, userID), e.Kind.String(), e.Detail)
	return true, nil
}
