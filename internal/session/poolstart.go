package session

import (
	"context"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// order is a unit to be started. All fields are required.
type order struct {
	Session   *Session
	SessionID string // by which prestart.Take may know a unit for it
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
func (p *pool) Start(ctx context.Context, o order) (*unit.Unit, error) {
	leave, err := p.door.Enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	timed, cancel := context.WithTimeoutCause(ctx, p.cfg.Unit.StartTimeout, unit.ErrStartTimeout)
	defer cancel()
	return p.first(timed, ctx, o)
}

// first begins with the unit that was started ahead, or else with another. One that
// does not begin in time is waited for beyond that, until whole ends, lest it is in the
// way of the next.
func (p *pool) first(ctx, whole context.Context, o order) (*unit.Unit, error) {
	u, err := p.prestarted(ctx, o)
	if err != nil {
		return nil, err
	}
	for ahead := u != nil; ; ahead = false {
		if !ahead {
			if u, err = p.launch(ctx, o); err != nil {
				return nil, err
			}
		}
		if err = beginWith(ctx, whole, u, o); err == nil {
			return u, nil
		}
		if !ahead || ctx.Err() != nil {
			break
		}
		p.cfg.Unit.Log.Info("a unit that was started ahead is of no use; starting another", "unit", u.Name(), "session", p.cfg.Label(o.SessionID), "error", err)
	}
	o.failed(ctx, u, err)
	return nil, err
}

// failed reports a failure, unless nothing is wrong: the client has left.
func (o order) failed(ctx context.Context, u *unit.Unit, err error) {
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		o.Failed(u, err)
	}
}

// prestarted gives the session the unit that was started for it: within the limits, its
// token good and its idle time begun anew. It is nil if there is none that works.
// Errors are those of reserve.
func (p *pool) prestarted(ctx context.Context, o order) (*unit.Unit, error) {
	w := p.prestart.Take(ctx, o.SessionID)
	if w == nil {
		return nil, nil
	}
	if err := p.reserve(ctx, w.Unit, o.UserID, o.Session); err != nil {
		w.Stop(ctx)
		return nil, err
	}
	spec := o.Spec()
	if !w.Bind(prestartOwner{Other: spec.Other, Ended: spec.Ended}) {
		p.Remove(w.Unit)
		return nil, nil
	}
	if err := w.Prepare(ctx); err != nil {
		w.Stop(ctx)
		return nil, nil
	}
	return w.Unit, nil
}

// launch takes a place among the units and has one started there.
func (p *pool) launch(ctx context.Context, o order) (*unit.Unit, error) {
	// Asked here too so that a dead login or a forge that is down is told apart
	// from a unit that does not start.
	if _, err := p.cfg.Unit.Tokens.Token(ctx, o.UserID); err != nil {
		return nil, err
	}
	u, err := unit.New(p.cfg.Unit, o.Spec())
	if err != nil {
		return nil, err
	}
	if err := p.reserve(ctx, u, o.UserID, o.Session); err != nil {
		u.Discard()
		return nil, err
	}
	if err := u.Launch(ctx); err != nil {
		o.failed(ctx, u, err)
		return nil, err
	}
	return u, nil
}

// beginWith is order.Begin, with the unit stopped if that fails.
func beginWith(ctx, whole context.Context, u *unit.Unit, o order) error {
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
func (p *pool) Adopt(spec unit.Spec, left unit.Left, s *Session) (*unit.Unit, error) {
	u, err := unit.Adopt(p.cfg.Unit, spec, left)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members[u.ID()] = &member{Unit: u, Session: s, userID: spec.UserID, serves: true}
	return u, nil
}
