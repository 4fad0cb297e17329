package fleet

import (
	"context"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/warm"
)

// Order is a unit to be started. All fields are required.
type Order[S any] struct {
	Session   S
	SessionID string // by which warm.Pool.Take may know a unit for it
	UserID    string
	// Spec is asked when a unit is made.
	Spec func() unit.Spec
	// Begin speaks with the unit's backend first. A unit for which it fails is stopped.
	Begin func(context.Context, *unit.Unit) error
	// Failed is told of a unit that could not be launched, or begun with; not of one
	// after which another was tried, nor if ctx was cancelled.
	Failed func(*unit.Unit, error)
}

// Start starts a unit within the limits. Errors: *unit.StartError, ErrBusy,
// ErrDraining, and those of tokens.Tokens.Token.
func (f *Fleet[S]) Start(ctx context.Context, o Order[S]) (*unit.Unit, error) {
	leave, err := f.Door.Enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	timed, cancel := context.WithTimeoutCause(ctx, f.cfg.Unit.StartTimeout, unit.ErrStartTimeout)
	defer cancel()
	return f.first(timed, ctx, o)
}

// first begins with the unit that was started ahead, or else with another. One that
// does not begin in time is waited for beyond that, until whole ends, lest it is in the
// way of the next.
func (f *Fleet[S]) first(ctx, whole context.Context, o Order[S]) (*unit.Unit, error) {
	u, err := f.warmed(ctx, o)
	if err != nil {
		return nil, err
	}
	for ahead := u != nil; ; ahead = false {
		if !ahead {
			if u, err = f.launch(ctx, o); err != nil {
				return nil, err
			}
		}
		if err = begin(ctx, whole, u, o); err == nil {
			return u, nil
		}
		if !ahead || ctx.Err() != nil {
			break
		}
		f.cfg.Unit.Log.Info("a unit that was started ahead is of no use; starting another", "unit", u.Name(), "session", f.cfg.Label(o.SessionID), "error", err)
	}
	o.failed(ctx, u, err)
	return nil, err
}

// failed reports a failure, unless nothing is wrong: the client has left.
func (o Order[S]) failed(ctx context.Context, u *unit.Unit, err error) {
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		o.Failed(u, err)
	}
}

// warmed gives the session the unit that was started for it: within the limits, its
// token good and its idle time begun anew. It is nil if there is none that works.
// Errors are those of reserve.
func (f *Fleet[S]) warmed(ctx context.Context, o Order[S]) (*unit.Unit, error) {
	w := f.Warm.Take(ctx, o.SessionID)
	if w == nil {
		return nil, nil
	}
	if err := f.reserve(ctx, w.Unit, o.UserID, o.Session); err != nil {
		w.Stop(ctx)
		return nil, err
	}
	spec := o.Spec()
	if !w.Bind(warm.Owner{Other: spec.Other, Ended: spec.Ended}) {
		f.Remove(w.Unit)
		return nil, nil
	}
	if err := w.Prepare(ctx); err != nil {
		w.Stop(ctx)
		return nil, nil
	}
	return w.Unit, nil
}

// launch takes a place among the units and has one started there.
func (f *Fleet[S]) launch(ctx context.Context, o Order[S]) (*unit.Unit, error) {
	// Asked here too so that a dead login or a forge that is down is told apart
	// from a unit that does not start.
	if _, err := f.cfg.Unit.Tokens.Token(ctx, o.UserID); err != nil {
		return nil, err
	}
	u, err := unit.New(f.cfg.Unit, o.Spec())
	if err != nil {
		return nil, err
	}
	if err := f.reserve(ctx, u, o.UserID, o.Session); err != nil {
		u.Discard()
		return nil, err
	}
	if err := u.Launch(ctx); err != nil {
		o.failed(ctx, u, err)
		return nil, err
	}
	return u, nil
}

// begin is Order.Begin, with the unit stopped if that fails.
func begin[S any](ctx, whole context.Context, u *unit.Unit, o Order[S]) error {
	err := o.Begin(ctx, u)
	if err == nil {
		err = u.AwaitKept(ctx)
	}
	if err != nil {
		u.Stop(whole)
	}
	return err
}

// Adopt goes on with a unit of the process before, which serves s and needs no place
// to be free for it. unit.Unit.Attend must follow.
func (f *Fleet[S]) Adopt(spec unit.Spec, left unit.Left, s S) (*unit.Unit, error) {
	u, err := unit.Adopt(f.cfg.Unit, spec, left)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members[u.ID()] = &Member[S]{Unit: u, Session: s, userID: spec.UserID, serves: true}
	return u, nil
}
