package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// What package unit says of a start, for callers that know sessions alone.
type (
	// Call is one request in flight.
	Call = unit.Call
	// StartError says why a session could not start, or ended.
	StartError = unit.StartError
	// Server is what a shared session's backend says of itself.
	Server = unit.Server
)

// ReasonTimeout: the backend did not answer initialize in time.
const ReasonTimeout = unit.ReasonTimeout

// StartReason returns the reason in err, "" when there is none.
func StartReason(err error) control.Reason {
	var fail *StartError
	if errors.As(err, &fail) {
		return fail.Reason
	}
	return ""
}

// start starts a unit for s within the limits and has begin speak with its backend first.
// One for which begin fails is stopped. Errors: *unit.StartError, ErrBusy, ErrDraining, and
// those of tokens.Tokens.Token.
func (m *Manager) start(ctx context.Context, s *Session, begin beginning) (*unit.Unit, error) {
	if err := m.awaitAll(ctx); err != nil { // they count for the limits
		return nil, err
	}
	leave, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	began, woken := time.Now(), s.Protocol() != ""
	timed, cancel := context.WithTimeoutCause(ctx, m.cfg.StartTimeout, unit.ErrStartTimeout)
	defer cancel()
	u, err := m.first(timed, ctx, s, begin)
	if err != nil {
		return nil, err
	}
	e := s.event(audit.SessionStarted, "ok")
	e.Unit, e.DurationUsec = u.Name(), audit.Count(int(time.Since(began).Microseconds()))
	if woken {
		e.Detail = audit.Woken
	}
	m.cfg.Audit.Event(ctx, e)
	return u, nil
}

// spec is a unit of the session's, within what bounds it.
func (s *Session) spec(within policy.Limits) unit.Spec {
	m := s.manager
	return unit.Spec{
		Session: s.Label(), UserID: s.row.UserID, Subject: s.row.Subject, User: s.userName(), ReadOnly: s.ReadOnly(), Limits: within,
		MaxAge: s.row.CreatedAt.Add(m.cfg.MaxAge).Sub(m.cfg.Now()),
		Other:  s.hear, Ended: s.unitEnded,
	}
}

// unitEnded makes the session dormant, unless it has another unit by now or has
// ended.
func (s *Session) unitEnded(u *unit.Unit) {
	m := s.manager
	m.mu.Lock()
	o := m.units[u.ID()]
	replaced := o.served && s.unit != nil && s.unit != u
	delete(m.units, u.ID())
	dormant := s.unit == u
	if dormant {
		s.unit, s.row.UnitID = nil, ""
	}
	m.mu.Unlock()
	if dormant {
		s.recordDormant(u, o.abandoned)
	} else if fail := u.Failure(); replaced && fail != nil {
		s.report(u, fail)
	}
}

// recordDormant records that the session is dormant, and why: abandoned says that u made
// room for another.
func (s *Session) recordDormant(u *unit.Unit, abandoned bool) {
	ctx, m := context.Background(), s.manager
	err := errors.Join(m.cfg.Store.ClearSessionUnit(ctx, s.row.ID, u.ID()), m.cfg.Store.TouchSession(ctx, s.row.ID, u.Used()))
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		m.cfg.Log.Error("cannot record that a session is dormant", "session", s.Label(), "error", err)
	}
	if fail := u.Failure(); fail != nil {
		s.report(u, fail)
		return
	}
	e := s.event(audit.SessionReaped, "dormant")
	if abandoned {
		e.Unit, e.Outcome = u.Name(), "abandoned"
		e.Detail = "stopped, to make room for another session, in the midst of calls that nobody waits for any more"
	}
	m.cfg.Audit.Event(ctx, e)
}

// report writes a unit's failure for the operator: one event, with the backend's
// last words, and whether the session is left alone for a while.
func (s *Session) report(u *unit.Unit, err error) {
	m := s.manager
	e := s.event(audit.SessionFailed, "error")
	e.Unit, e.Failed, e.Detail = u.Name(), true, err.Error()
	var fail *StartError
	if !errors.As(err, &fail) {
		m.cfg.Audit.Event(context.Background(), e)
		return
	}
	e.Outcome, e.Detail = string(fail.Reason), fail.Detail
	m.cfg.Audit.Event(context.Background(), e)
	words := []any{"unit", u.Name(), "session", s.Label(), "user", s.userName(), "stderr", strings.Join(fail.LastLines, " ⏎ ")}
	if wait := s.died(u, fail.Reason); wait > 0 {
		m.cfg.Log.Warn("the backend keeps ending by itself; not starting it for a while", append(words, "wait", wait)...)
	} else if len(fail.LastLines) > 0 {
		m.cfg.Log.Warn("last words of the backend", words...)
	}
}

// beginning speaks with the backend of a fresh unit first.
type beginning func(context.Context, *unit.Unit) error

// first begins with the unit that was started ahead, or else with another. One that
// does not begin in time is waited for beyond that, until whole ends, lest it is in the
// way of the next.
func (m *Manager) first(ctx, whole context.Context, s *Session, begin beginning) (*unit.Unit, error) {
	u, err := m.prestarted(ctx, s)
	if err != nil {
		return nil, err
	}
	for ahead := u != nil; ; ahead = false {
		if !ahead {
			if u, err = m.launch(ctx, s); err != nil {
				return nil, err
			}
		}
		if _, err = s.align(ctx, u, m.cfg.Rights.OfLogin); err == nil {
			err = begin.with(ctx, whole, u)
		}
		if err == nil {
			return u, nil
		}
		if !ahead || ctx.Err() != nil {
			break
		}
		m.cfg.Log.Info("a unit that was started ahead is of no use; starting another", "unit", u.Name(), "session", s.label, "error", err)
	}
	s.startFailed(ctx, u, err)
	return nil, err
}

// startFailed reports a unit that could not be launched, or begun with, unless nothing
// is wrong: the client has left.
func (s *Session) startFailed(ctx context.Context, u *unit.Unit, err error) {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	s.report(u, err)
	s.manager.cfg.StartFailed(StartReason(err))
}

// prestarted gives the session the unit that was started for it: within the limits, its
// token good and its idle time begun anew. It is nil if there is none that works.
// Errors are those of reserve.
func (m *Manager) prestarted(ctx context.Context, s *Session) (*unit.Unit, error) {
	w := m.prestart.Await(ctx, s.row.ID)
	if w == nil {
		return nil, nil
	}
	if err := m.reserve(ctx, w.Unit, s); err != nil {
		w.Stop(ctx)
		return nil, err
	}
	if !w.Bind(s) {
		m.mu.Lock()
		delete(m.units, w.ID())
		m.mu.Unlock()
		return nil, nil
	}
	if err := w.Prepare(ctx); err != nil {
		w.Stop(ctx)
		return nil, nil
	}
	return w.Unit, nil
}

// launch makes a unit, finds a place for it and has it started.
func (m *Manager) launch(ctx context.Context, s *Session) (*unit.Unit, error) {
	within, err := m.cfg.Rights.OfLogin(ctx, s.row.UserID, s.row.GrantID)
	if err != nil {
		return nil, err
	}
	u, err := unit.New(m.cfg.Config, s.spec(within.Limits))
	if err != nil {
		return nil, err
	}
	if err = u.FetchToken(ctx); err == nil {
		err = m.reserve(ctx, u, s)
	}
	if err != nil {
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

// adopt continues with a unit of the process before, which serves s and needs no place
// to be free for it. unit.Unit.Attend must follow.
func (m *Manager) adopt(left unit.Left, s *Session) (*unit.Unit, error) {
	within, err := m.cfg.Rights.Standing(context.Background(), s.row.UserID, s.row.GrantID)
	if err == nil && !within.Limits.Connect().Allowed {
		err = model.ErrPolicy
	}
	if err != nil {
		left.Close()
		return nil, err
	}
	u, err := unit.Adopt(m.cfg.Config, s.spec(within.Limits), left)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.units[u.ID()], s.unit = member{Unit: u, Session: s, served: true}, u
	return u, nil
}
