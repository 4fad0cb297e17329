package session

import (
	"context"
	"errors"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// What package unit says of a start, for callers that know sessions alone.
type (
	// Call is one request in flight.
	Call = unit.Call
	// StartError says why a session could not start, or ended.
	StartError = unit.StartError
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

// start starts a unit for s and has begin speak with its backend first.
func (m *Manager) start(ctx context.Context, s *Session, begin beginning) (*unit.Unit, error) {
	if err := m.awaitAll(ctx); err != nil { // they count for the limits
		return nil, err
	}
	u, err := m.pool.Start(ctx, s, begin)
	if err != nil {
		return nil, err
	}
	e := s.event(audit.SessionStarted, "ok")
	e.Unit = u.Name()
	m.cfg.Audit.Event(ctx, e)
	return u, nil
}

// spec is what the session's units have in common.
func (s *Session) spec() unit.Spec {
	m := s.manager
	return unit.Spec{
		Session: s.Label(), UserID: s.row.UserID, User: s.row.UserName, ReadOnly: s.ReadOnly(),
		MaxAge: s.row.CreatedAt.Add(m.cfg.MaxAge).Sub(m.cfg.Now()),
		Other:  s.hear, Ended: s.unitEnded,
	}
}

// unitEnded makes the session dormant, unless it has another unit by now or has
// ended.
func (s *Session) unitEnded(u *unit.Unit) {
	m := s.manager
	m.mu.Lock()
	m.pool.Remove(u)
	dormant := s.unit == u
	if dormant {
		s.unit, s.row.UnitID = nil, ""
	}
	m.mu.Unlock()
	if dormant {
		s.recordDormant(u)
	}
}

// recordDormant records that the session is dormant, and why.
func (s *Session) recordDormant(u *unit.Unit) {
	ctx, m := context.Background(), s.manager
	err := errors.Join(m.cfg.Store.ClearSessionUnit(ctx, s.row.ID, u.ID()), m.cfg.Store.TouchSession(ctx, s.row.ID, u.Used()))
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		m.cfg.Log.Error("cannot record that a session is dormant", "session", s.Label(), "error", err)
	}
	if fail := u.Failure(); fail != nil {
		s.report(u, fail)
		return
	}
	m.cfg.Audit.Event(ctx, s.event(audit.SessionReaped, "dormant"))
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
	words := []any{"unit", u.Name(), "session", s.Label(), "user", s.row.UserName, "stderr", strings.Join(fail.LastLines, " ⏎ ")}
	if wait := s.died(u, fail.Reason); wait > 0 {
		m.cfg.Log.Warn("the backend keeps ending by itself; not starting it for a while", append(words, "wait", wait)...)
	} else if len(fail.LastLines) > 0 {
		m.cfg.Log.Warn("last words of the backend", words...)
	}
}
