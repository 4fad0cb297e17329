package operate

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// stopsAtOnce bounds how many sessions Stop ends at a time.
const stopsAtOnce = 8

// List implements admin.Sessions.
func (o *Operator) List(ctx context.Context) ([]admin.Session, error) {
	views, err := o.cfg.Sessions.List(ctx)
	all := make([]admin.Session, len(views))
	for i, v := range views {
		all[i] = sessionOf(v)
	}
	return all, err
}

// Show implements admin.Sessions.
func (o *Operator) Show(ctx context.Context, id string) (admin.Detail, error) {
	all, err := o.byLabel(ctx)
	if err != nil {
		return admin.Detail{}, err
	}
	v, ok := all[id]
	if !ok {
		return admin.Detail{}, noSuch(id)
	}
	return admin.Detail{
		Session: sessionOf(v), Ends: v.CreatedAt.Add(o.cfg.Settings.SessionMaxAge), HeldUntil: v.HeldUntil,
		Calls: callsOf(v), Launcher: o.cfg.Settings.Launcher,
	}, nil
}

// Stop implements admin.Sessions.
func (o *Operator) Stop(ctx context.Context, ids []string) (admin.Stopped, error) {
	all, err := o.byLabel(ctx)
	if err != nil {
		return admin.Stopped{}, err
	}
	var mu sync.Mutex
	done := admin.Stopped{Stopped: []admin.Session{}, Failed: []admin.Unstoppable{}}
	var stops errgroup.Group
	stops.SetLimit(stopsAtOnce)
	for _, id := range ids {
		stops.Go(func() error {
			err := o.stop(ctx, all, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				done.Failed = append(done.Failed, admin.Unstoppable{ID: id, Error: err.Error()})
			} else {
				done.Stopped = append(done.Stopped, sessionOf(all[id]))
			}
			return nil
		})
	}
	return done, stops.Wait()
}

// stop ends one session. The error is in the operator's words.
func (o *Operator) stop(ctx context.Context, all map[string]session.View, id string) error {
	v, ok := all[id]
	if !ok {
		return noSuch(id)
	}
	err := o.cfg.Sessions.Stop(ctx, v.ID)
	if errors.Is(err, broker.ErrNotFound) {
		return noSuch(id)
	}
	if err != nil {
		o.cfg.Log.Error("cannot stop a session", "session", id, "error", err)
		return errors.New("the database cannot be written; see the journal of fjmcp-broker")
	}
	return nil
}

func noSuch(id string) *admin.Error {
	return &admin.Error{Text: fmt.Sprintf("there is no session %q; fjmcpctl sessions list shows all", id), NotFound: true}
}

func (o *Operator) byLabel(ctx context.Context) (map[string]session.View, error) {
	views, err := o.cfg.Sessions.List(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]session.View, len(views))
	for _, v := range views {
		all[v.Label] = v
	}
	return all, nil
}
