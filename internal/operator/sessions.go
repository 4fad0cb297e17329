package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// stopsAtOnce bounds how many sessions Stop ends at a time.
const stopsAtOnce = 8

// List implements admin.Operator.
func (o *Operator) List(ctx context.Context) ([]admin.Session, error) {
	views, err := o.cfg.Sessions.List(ctx)
	all := make([]admin.Session, len(views))
	for i, v := range views {
		all[i] = sessionOf(v)
	}
	return all, err
}

// Show implements admin.Operator.
func (o *Operator) Show(ctx context.Context, id string) (admin.Detail, error) {
	all, err := o.cfg.Sessions.Labels(ctx)
	if err != nil {
		return admin.Detail{}, err
	}
	v, err := o.cfg.Sessions.View(ctx, all[id])
	if err != nil {
		return admin.Detail{}, noSuch(id, err)
	}
	return admin.Detail{
		Session: sessionOf(v), Ends: v.CreatedAt.Add(o.cfg.Settings.SessionMaxAge), HeldUntil: v.HeldUntil,
		Calls: callsOf(v), Launcher: o.cfg.Settings.Launcher,
	}, nil
}

// Stop implements admin.Operator.
func (o *Operator) Stop(ctx context.Context, ids []string) (admin.Stopped, error) {
	all, err := o.cfg.Sessions.Labels(ctx)
	if err != nil {
		return admin.Stopped{}, err
	}
	var mu sync.Mutex
	done := admin.Stopped{Stopped: []admin.Session{}, Failed: []admin.Unstoppable{}}
	var stops errgroup.Group
	stops.SetLimit(stopsAtOnce)
	for _, id := range ids {
		stops.Go(func() error {
			v, err := o.stop(ctx, all, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				done.Failed = append(done.Failed, admin.Unstoppable{ID: id, Error: err.Error()})
			} else {
				done.Stopped = append(done.Stopped, sessionOf(v))
			}
			return nil
		})
	}
	return done, stops.Wait()
}

// stop ends one session and returns what it was. The error is in the operator's words.
func (o *Operator) stop(ctx context.Context, all map[string]string, id string) (session.View, error) {
	v, err := o.cfg.Sessions.View(ctx, all[id])
	if err == nil {
		err = o.cfg.Sessions.Stop(ctx, v.ID)
	}
	if err == nil || errors.Is(err, model.ErrNotFound) {
		return v, noSuch(id, err)
	}
	o.cfg.Log.Error("cannot stop a session", "session", id, "error", err)
	return v, errors.New("the database cannot be used; see the journal of fjmcp-broker")
}

// noSuch is err, or that the journal knows no session as id.
func noSuch(id string, err error) error {
	if errors.Is(err, model.ErrNotFound) {
		return &admin.Error{Text: fmt.Sprintf("there is no session %q; fjmcpctl sessions list shows all", id), NotFound: true}
	}
	return err
}

// drainLook is how often Drain looks whether calls are in flight.
const drainLook = 50 * time.Millisecond

// Drain implements admin.Operator. It lasts until Undrain or the broker's end.
func (o *Operator) Drain(ctx context.Context) (admin.Drain, error) {
	if o.cfg.Sessions.ShutDoor() {
		o.cfg.Audit.Event(ctx, audit.Event{Kind: audit.Drained, Outcome: "ok"})
	}
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for {
		since, entering := o.cfg.Sessions.Door() // before the look at calls, see there
		d := admin.Drain{Since: since, Calls: o.calls()}
		if entering+len(d.Calls) == 0 || since.IsZero() || ctx.Err() != nil {
			return d, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		case <-o.released:
			return d, nil
		}
	}
}

// Undrain implements admin.Operator.
func (o *Operator) Undrain(ctx context.Context) {
	if o.cfg.Sessions.OpenDoor() {
		o.cfg.Audit.Event(ctx, audit.Event{Kind: audit.Undrained, Outcome: "ok"})
	}
}

// calls are those in flight in all sessions, the oldest first.
func (o *Operator) calls() []admin.Call {
	all := []admin.Call{}
	for _, v := range o.cfg.Sessions.Awake() {
		all = append(all, callsOf(v)...)
	}
	slices.SortFunc(all, func(a, b admin.Call) int { return a.Began.Compare(b.Began) })
	return all
}
