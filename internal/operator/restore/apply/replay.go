package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// replay ends again, in a backup's database, what has ended since. What is not there has
// begun since, and is no error.
type replay struct {
	*store.Store
	ended    *restore.Ended
	blocked  map[string]bool // by the forge's number
	sessions map[string]bool // that have ended, by model.SessionLabel
}

// run repeats all that has ended.
func (r replay) run(ctx context.Context, since []restore.Step) error {
	for _, e := range since {
		if err := r.step(ctx, e); err != nil {
			return fmt.Errorf("cannot repeat %s: %w", e.Kind, err)
		}
	}
	r.ended.Blocked = len(r.blocked)
	return r.endSessions(ctx, func(id string) bool { return r.sessions[model.SessionLabel(id)] })
}

// named reports whether an event names the client of that id: events have the first part
// of it, cut to what fits.
func named(event, id string) bool { return event != "" && event == audit.Clean(model.ShortID(id)) }

func (r replay) step(ctx context.Context, e restore.Step) error {
	switch e.Kind {
	case audit.ClientRemoved:
		return r.removeClient(ctx, e.Client)
	case audit.Disconnected:
		return r.end(ctx, func(g model.Grant, subject string) bool { return subject == e.User && named(e.Client, g.ClientID) })
	case audit.TokenRevoked:
		if e.AccessOnly {
			return r.DropAccessTokens(ctx, e.Grant)
		}
		return r.grant(ctx, e.Grant)
	case audit.TokenReused, audit.GrantRevoked:
		return r.grant(ctx, e.Grant)
	case audit.UserRevoked:
		return r.user(ctx, e.User)
	case audit.UserBlocked:
		r.blocked[e.User] = true
		if err := r.user(ctx, e.User); err != nil {
			return err
		}
		_, _, err := r.BlockUser(ctx, e.User, e.Operator)
		return err
	case audit.UserUnblocked:
		delete(r.blocked, e.User)
		return none(r.UnblockUser(ctx, e.User))
	case audit.SessionStopped:
		r.sessions[e.Session] = true
	case audit.TokenIssued, audit.TokenRefreshed:
		if e.ReadOnly {
			if err := r.Narrowed(ctx, e.Grant); err != nil {
				return err
			}
		}
		return r.Replaced(ctx, e.Grant, e.Generation)
	}
	return nil
}

// none passes over what is not there.
func none(err error) error {
	if errors.Is(err, model.ErrNotFound) {
		return nil
	}
	return err
}

func (r replay) end(ctx context.Context, pick func(model.Grant, string) bool) error {
	grants, sessions, err := r.EndGrants(ctx, pick)
	r.ended.Logins, r.ended.Sessions = r.ended.Logins+grants, r.ended.Sessions+sessions
	return err
}

func (r replay) grant(ctx context.Context, id string) error {
	return r.end(ctx, func(g model.Grant, _ string) bool { return g.ID == id })
}

func (r replay) user(ctx context.Context, subject string) error {
	// In this order: what the first ends is not counted by the second.
	if err := r.end(ctx, func(_ model.Grant, s string) bool { return s == subject }); err != nil {
		return err
	}
	_, err := r.RevokeUser(ctx, subject)
	return none(err)
}

func (r replay) removeClient(ctx context.Context, client string) error {
	if err := r.end(ctx, func(g model.Grant, _ string) bool { return named(client, g.ClientID) }); err != nil {
		return err
	}
	all, err := r.Clients(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if !named(client, c.ID) {
			continue
		}
		if _, _, err := r.RemoveClient(ctx, c.ID); none(err) != nil {
			return err
		}
		r.ended.Clients++
	}
	return nil
}

func (r replay) endSessions(ctx context.Context, pick func(id string) bool) error {
	all, err := r.SessionIDs(ctx)
	for _, id := range all {
		if pick(id) {
			r.ended.Sessions++
			err = errors.Join(err, r.DeleteSession(ctx, id))
		}
	}
	return err
}

// everything ends all logins and sessions. Users and clients stay.
func (r replay) everything(ctx context.Context) error {
	if err := r.end(ctx, func(model.Grant, string) bool { return true }); err != nil {
		return err
	}
	return r.endSessions(ctx, func(string) bool { return true })
}
