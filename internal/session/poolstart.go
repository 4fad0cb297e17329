package session

import (
	"context"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// beginning speaks with the backend of a fresh unit first.
type beginning func(context.Context, *unit.Unit) error

// Start starts a unit for s within the limits. One for which begin fails is stopped.
// Errors: *unit.StartError, ErrBusy, ErrDraining, and those of tokens.Tokens.Token.
func (p *pool) Start(ctx context.Context, s *Session, begin beginning) (*unit.Unit, error) {
	leave, err := p.door.Enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	timed, cancel := context.WithTimeoutCause(ctx, p.cfg.StartTimeout, unit.ErrStartTimeout)
	defer cancel()
	return p.first(timed, ctx, s, begin)
}

// first begins with the unit that was started ahead, or else with another. One that
// does not begin in time is waited for beyond that, until whole ends, lest it is in the
// way of the next.
func (p *pool) first(ctx, whole context.Context, s *Session, begin beginning) (*unit.Unit, error) {
	u, err := p.prestarted(ctx, s)
	if err != nil {
		return nil, err
	}
	for ahead := u != nil; ; ahead = false {
		if !ahead {
			if u, err = p.launch(ctx, s); err != nil {
				return nil, err
			}
		}
		if err = begin.with(ctx, whole, u); err == nil {
			return u, nil
		}
		if !ahead || ctx.Err() != nil {
			break
		}
		p.cfg.Log.Info("a unit that was started ahead is of no use; starting another", "unit", u.Name(), "session", s.label, "error", err)
	}
	s.startFailed(ctx, u, err)
	return nil, err
}

// startFailed reports a unit that could not be launched, or begun with, unless nothing
// is wrong: the client has left.
func (s *Session) startFailed(ctx context.Context, u *unit.Unit, err error) {
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		s.report(u, err)
	}
}

// prestarted gives the session the unit that was started for it: within the limits, its
// token good and its idle time begun anew. It is nil if there is none that works.
// Errors are those of reserve.
func (p *pool) prestarted(ctx context.Context, s *Session) (*unit.Unit, error) {
	w := p.prestart.Await(ctx, s.row.ID)
	if w == nil {
		return nil, nil
	}
	if err := p.reserve(ctx, w.Unit, s); err != nil {
		w.Stop(ctx)
		return nil, err
	}
	if !w.Bind(s) {
		p.Remove(w.Unit)
		return nil, nil
	}
	if err := w.Prepare(ctx); err != nil {
		w.Stop(ctx)
		return nil, nil
	}
	return w.Unit, nil
}

// launch makes a unit, finds a place for it and has it started.
func (p *pool) launch(ctx context.Context, s *Session) (*unit.Unit, error) {
	// Asked here too so that a dead login or a forge that is down is told apart
	// from a unit that does not start.
	if _, err := p.cfg.Tokens.Token(ctx, s.row.UserID); err != nil {
		return nil, err
	}
	u, err := unit.New(p.cfg.Config, s.spec())
	if err != nil {
		return nil, err
	}
	if err := p.reserve(ctx, u, s); err != nil {
		u.Discard()
		return nil, err
	}
	if err := u.Launch(ctx); err != nil {
		s.startFailed(ctx, u, err)
		return nil, err
	}
	return u, nil
}

// with begins with u, which is stopped if that fails.
func (begin beginning) with(ctx, whole context.Context, u *unit.Unit) error {
	err := begin(ctx, u)
	if err == nil {
		err = u.AwaitKept(ctx)
	}
	if err != nil {
		u.Stop(whole)
	}
	return err
}

// Adopt continues with a unit of the process before, which serves s and needs no place
// to be free for it. unit.Unit.Attend must follow.
func (p *pool) Adopt(left unit.Left, s *Session) (*unit.Unit, error) {
	u, err := unit.Adopt(p.cfg.Config, s.spec(), left)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members[u.ID()] = &member{Unit: u, Session: s, serves: true}
	return u, nil
}
