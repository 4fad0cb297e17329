package unit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// refreshAhead is how long before its end a Forgejo token is replaced in a
// running unit.
const refreshAhead = 5 * time.Minute

// FetchToken gets the token that the unit is to start with, before Launch, so that a dead
// login or a forge that is down is told apart from a unit that does not start. Errors are
// those of tokens.Tokens.Token.
func (u *Unit) FetchToken(ctx context.Context) error {
	set, err := u.current(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.token = set
	return err
}

// Token hands over what FetchToken got, once.
func (u *Unit) Token() (string, error) {
	if !u.tokenGiven.CompareAndSwap(false, true) {
		return "", fmt.Errorf("%s has taken its token already", u.Name())
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.token.AccessToken, nil
}

// current returns the user's token of now.
func (u *Unit) current(ctx context.Context) (model.ForgejoTokens, error) {
	changes := u.cfg.Tokens.Changes(u.spec.UserID) // before, so that one meanwhile is noticed
	set, err := u.cfg.Tokens.Token(ctx, u.spec.UserID)
	if err == nil {
		u.mu.Lock()
		u.changes = changes
		u.mu.Unlock()
	}
	return set, err
}

// push hands the unit the user's token when that is another.
func (u *Unit) push(ctx context.Context, set model.ForgejoTokens) error {
	u.mu.Lock()
	same := set.AccessToken == u.token.AccessToken
	u.token = set
	u.mu.Unlock()
	if same {
		return nil
	}
	u.grantDead.Store(false) // a login has revived it
	return u.near.Control.Send(ctx, control.Message{Type: control.TypeToken, Token: set.AccessToken})
}

// noteUnrenewed keeps and returns the reason why a token was not replaced if that is not
// the user's login: what comes of it is not to be laid at its door.
func (u *Unit) noteUnrenewed(err error) (reason control.Reason) {
	switch {
	case errors.Is(err, errNoOther), errors.Is(err, model.ErrForgejoGrantDead):
	case errors.Is(err, model.ErrForgejoDown) && !errors.Is(err, model.ErrForgejoMisconfigured):
		reason = control.ReasonForgeUnreachable
	default:
		reason = control.ReasonInternal
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unrenewed = reason
	return reason
}

var errNoOther = errors.New("the forge refuses the current token, and there is no other")

// renew answers the unit's report that the forge refused its token.
func (u *Unit) renew() {
	ctx, cancel := context.WithTimeout(context.Background(), u.cfg.StartTimeout)
	defer cancel()
	u.mu.Lock()
	stale := u.token.AccessToken
	u.mu.Unlock()
	set, err := u.cfg.Tokens.Renew(ctx, u.spec.UserID, stale)
	if err == nil && set.AccessToken == stale {
		err = errNoOther
	}
	if err == nil {
		err = u.push(ctx, set)
	}
	if err == nil {
		return
	}
	u.grantDead.Store(errors.Is(err, model.ErrForgejoGrantDead))
	reason := u.noteUnrenewed(err)
	level := slog.LevelWarn
	if errors.Is(err, errNoOther) {
		level = slog.LevelDebug // forgejo-mcp has that as often as it likes
	}
	u.cfg.Log.Log(ctx, level, "cannot renew the Forgejo token of a session", "unit", u.Name(), "user", u.spec.User, "error", err)
	_ = u.near.Control.Send(ctx, control.Message{Type: control.TypeNoToken, Reason: reason})
}

// checkSuspended answers the unit's report, of that id, that the forge answered 403.
func (u *Unit) checkSuspended(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), u.cfg.StartTimeout)
	defer cancel()
	_, err := u.cfg.Tokens.Suspended(ctx, u.spec.UserID)
	if err != nil {
		u.cfg.Log.Debug("cannot tell whether the forge answers 403 because of the user", "unit", u.Name(), "user", u.spec.User, "error", err)
	}
	_ = u.near.Control.Send(ctx, control.Message{Type: control.TypeAck, ID: id})
}

// LoseLogin says that the forge has refused the user's login for good.
func (u *Unit) LoseLogin() { u.grantDead.Store(true) }
