package authorize

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// errNarrower says that Forgejo kept an older grant that opens less than what is
// asked for now. The token set is good and stored.
var errNarrower = errors.New("an older forgejo grant is narrower than FJMCP_BROKER_FORGEJO_SCOPES")

// adopt finds out whose a token set is and what it opens, and stores it as that
// user's. A set that opens more than what is asked for is not stored, and that
// user's older one, of the same grant, is dropped. Of a blocked user, which is
// model.ErrBlocked, none is stored.
func (h *Handler) adopt(ctx context.Context, set model.ForgejoTokens) (model.User, error) {
	identity, err := h.cfg.Forgejo.Identity(ctx, set.AccessToken)
	if err != nil {
		return model.User{}, err
	}
	user, err := h.cfg.Store.UpsertUser(ctx, h.cfg.Forgejo.Origin(), identity.Subject, identity.Name)
	if err != nil {
		return model.User{Name: identity.Name}, fmt.Errorf("cannot store the user: %w", err)
	}
	blocked, err := h.cfg.Store.Blocked(ctx, user.ID)
	switch {
	case err != nil:
		return user, fmt.Errorf("cannot read whether the user is blocked: %w", err)
	case blocked:
		return user, model.ErrBlocked
	}
	granted, err := h.cfg.Forgejo.Introspect(ctx, set.AccessToken)
	if err != nil {
		return user, err
	}
	set.Scope = granted.Scope
	if err := h.cfg.Forgejo.VerifyScope(set.Scope); err != nil {
		return user, errors.Join(err, h.cfg.Tokens.Discard(ctx, user.ID, set))
	}
	if err := h.cfg.Tokens.Put(ctx, user.ID, set); err != nil {
		return user, err
	}
	if !forgejo.ScopeSame(set.Scope, h.cfg.Forgejo.Scope()) {
		return user, errNarrower
	}
	return user, nil
}

const (
	// unfinishedAfter leaves alone a callback that is at work.
	unfinishedAfter = time.Minute
	unfinishedLease = 2 * time.Minute
)

// Unfinished continues with logins that were cut off after Forgejo had issued a
// token set: by a crash of the broker, or by Forgejo's failing right then. Only
// the set is saved, since it has replaced the one that the user's other clients
// rely on; the browser has to start again. Call it at start and now and then.
func (h *Handler) Unfinished(ctx context.Context) (err error) {
	const lease = "unfinished-logins"
	holder := rand.Text()
	got, err := h.cfg.Store.AcquireLease(ctx, lease, holder, unfinishedLease)
	if err != nil || !got {
		return err
	}
	defer func() { err = errors.Join(err, h.cfg.Store.ReleaseLease(context.WithoutCancel(ctx), lease, holder)) }()
	logins, err := h.cfg.Store.UnfinishedLogins(ctx, h.cfg.Now().Add(-unfinishedAfter))
	if err != nil {
		return err
	}
	for _, login := range logins {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h.save(ctx, login)
	}
	return nil
}

// save adopts the token set of one unfinished login. While Forgejo is down the
// login stays for the next time.
func (h *Handler) save(ctx context.Context, login store.Login) {
	set, err := h.current(ctx, login)
	user := model.User{}
	if err == nil {
		user, err = h.adopt(ctx, set)
	}
	kept := err == nil || errors.Is(err, errNarrower)
	if kept && login.ClientID != "" {
		if _, refused := h.ceiling(ctx, user, set); errors.Is(refused, model.ErrPolicy) {
			kept, err = false, refused
		}
	}
	switch {
	case kept:
		h.cfg.Log.InfoContext(ctx, "kept the forgejo tokens of a login that was cut off", "user", user.Name)
		if login.ClientID == "" { // it was to the account page, and nothing may need the set
			h.cfg.Unneeded(ctx, user.ID, user.Name)
		}
	case resumable(err):
		h.cfg.Log.InfoContext(ctx, "cannot finish a login that was cut off; trying again later", "error", err)
		return
	default:
		h.cfg.Log.WarnContext(ctx, "cannot keep the forgejo tokens of a login that was cut off", "user", user.Name, "error", err)
	}
	h.drop(ctx, login)
}

// current returns the login's token set, refreshed if its time is over.
func (h *Handler) current(ctx context.Context, login store.Login) (model.ForgejoTokens, error) {
	if h.cfg.Now().Before(login.Set.ExpiresAt) {
		return login.Set, nil
	}
	next, err := h.cfg.Forgejo.Refresh(ctx, login.Set)
	if err != nil {
		return model.ForgejoTokens{}, err
	}
	return next, h.cfg.Store.KeepLoginSet(ctx, login.StateHash, next)
}
