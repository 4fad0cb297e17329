package session

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// ReadOnly reports whether the session may only read at the forge.
func (s *Session) ReadOnly() bool {
	s.manager.mu.Lock()
	defer s.manager.mu.Unlock()
	return s.row.ReadOnly
}

// covered reports whether access may do all that the session may.
func (s *Session) covered(access model.Access) bool {
	return !model.ReadOnly(access.Scope) || s.ReadOnly()
}

// gateTimeout bounds the wait for calls that begin, which may stand in line behind
// others, when a session's mode changes.
const gateTimeout = 5 * time.Second

// shut locks the gate. A unit in which calls do not get to begin is stopped: they
// begin in the next, where none is before them.
func (s *Session) shut() {
	if s.gate.TryLock() {
		return
	}
	late := time.AfterFunc(gateTimeout, func() {
		if u := s.running(); u != nil {
			s.manager.cfg.Log.Info("stopping a session's unit to change its mode: calls wait for their turn", "unit", u.Name())
			u.Stop(context.Background())
		}
	})
	defer late.Stop()
	s.gate.Lock()
}

// follows reports whether the session is to read only from now on: its own grant was
// narrowed after it began.
func (s *Session) follows(access model.Access) bool {
	return access.Narrowed && s.row.GrantID == access.GrantID && model.ReadOnly(access.Scope)
}

// adjust gives the session the mode of access: it lets a read-only session write from now
// on if access may, and no longer write if its grant may not. A shared one never changes
// its mode: access has another for that. The session stays as it is when adjust returns an
// error before the store has agreed.
func (s *Session) adjust(ctx context.Context, access model.Access) error {
	readOnly := s.follows(access)
	if s.row.Kind == model.SessionShared || model.ReadOnly(access.Scope) != readOnly || s.ReadOnly() == readOnly {
		return nil
	}
	s.shut()
	defer s.gate.Unlock()
	if s.ReadOnly() == readOnly { // another request was faster
		return nil
	}
	m := s.manager
	if err := m.cfg.Store.SetSessionMode(ctx, s.row.ID, readOnly); err != nil {
		return err
	}
	m.mu.Lock()
	s.row.ReadOnly = readOnly
	m.mu.Unlock()
	u := s.running()
	if u == nil {
		return nil
	}
	err := s.setMode(ctx, u, readOnly)
	if err == nil {
		err = s.confirm(ctx, u)
	}
	if err != nil {
		m.cfg.Log.Info("starting a session's unit anew to change its mode", "unit", u.Name(), "error", err)
		u.Stop(context.WithoutCancel(ctx))
	}
	return nil
}

// confirm records that u has the session's mode. One that has ended meanwhile, whose
// end may have been recorded before, is not the session's unit any more.
func (s *Session) confirm(ctx context.Context, u *unit.Unit) error {
	m := s.manager
	if err := m.cfg.Store.ConfirmSessionUnit(ctx, s.row.ID, u.ID()); err != nil {
		return err
	}
	if s.servedBy(u) {
		return nil
	}
	return m.cfg.Store.ClearSessionUnit(ctx, s.row.ID, u.ID())
}
