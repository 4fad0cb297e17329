package tokens

import (
	"context"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
)

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
	dropped, err := t.cfg.Store.DropForgejoTokens(ctx, userID, set.RefreshToken)
	if err != nil || !dropped {
		return false, err
	}
	t.cfg.Audit.Event(ctx, audit.Event{Kind: audit.ForgejoRefresh, User: t.name(ctx, userID), Outcome: e.Kind.String(), Detail: e.Detail, Failed: true})
	return true, nil
}

// name is the user's login name, for the journal.
func (t *Tokens) name(ctx context.Context, userID string) string {
	user, err := t.cfg.Store.User(ctx, userID)
	if err != nil {
		return userID
	}
	return user.Name
}
