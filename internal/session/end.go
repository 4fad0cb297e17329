package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Why sessions end for good, for the audit.
const (
	Blocked = "blocked" // the user
	Revoked = "revoked" // the grant, or all of the user

	deleted   = "deleted"
	tooOld    = "max_age"
	suspended = "suspended"
	operator  = "operator"
)

// End ends a session for good: its row goes first, then its unit.
func (m *Manager) End(ctx context.Context, s *Session) error { return m.end(ctx, s, deleted) }

func (m *Manager) end(ctx context.Context, s *Session, why string) error {
	m.interrupt(model.ErrNotFound, why, func(row model.Session) bool { return row.ID == s.row.ID })
	return m.finish(ctx, s, why)
}

// finish is end for a session whose start, if one is under way, is not to be cut short.
func (m *Manager) finish(ctx context.Context, s *Session, why string) error {
	defer s.queue.Lead()()
	if s.ended() {
		return nil
	}
	if err := m.cfg.Store.DeleteSession(ctx, s.row.ID); err != nil {
		return fmt.Errorf("cannot end the session: %w", err)
	}
	m.remove(s)
	m.stopUnits(ctx, s)
	m.cfg.Audit.Event(ctx, s.event(audit.SessionStopped, why))
	return nil
}

// stopUnits stops all units of these sessions and waits for their end, until ctx ends: also
// of a start that was cut short, which does not wait for it.
func (m *Manager) stopUnits(ctx context.Context, sessions ...*Session) {
	var ends sync.WaitGroup
	for _, o := range m.members() {
		if slices.Contains(sessions, o.Session) {
			ends.Go(func() { _ = stopAndAwait(ctx, o.Unit) })
		}
	}
	ends.Wait()
}

// key is that of a shared session.
func (s *Session) key() sharedKey { return sharedKey{s.row.GrantID, s.row.ReadOnly} }

// remove makes the session one that has ended. Its unit, if there is one, is to be
// stopped. Called at the queue's head.
func (m *Manager) remove(s *Session) {
	m.mu.Lock()
	delete(m.sessions, s.row.ID)
	if key := s.key(); m.shared[key] == s {
		delete(m.shared, key)
	}
	s.unit = nil
	m.mu.Unlock()
	close(s.done)
	go s.closeStreams()
	s.subscriptions.Close()
}

// closeStreams ends the session's streams when the calls in flight have been told so on
// them: a client that sees the stream end alone waits on.
func (s *Session) closeStreams() {
	ctx, cancel := context.WithTimeout(context.Background(), s.manager.cfg.StartTimeout)
	defer cancel()
	_ = s.streams.Filled(ctx)
	s.streams.Close()
}

// EndGrant ends all sessions of a grant, after its revocation.
func (m *Manager) EndGrant(ctx context.Context, grantID string) error {
	_, err := m.endRevoked(ctx, Revoked, func(_, grant string) bool { return grant == grantID }, func() ([]string, error) {
		return m.cfg.Store.GrantSessions(ctx, grantID)
	})
	return err
}

// EndUser ends all sessions of a user whose grants were revoked, and counts them. why is
// Blocked or Revoked.
func (m *Manager) EndUser(ctx context.Context, userID, why string) (ended int, err error) {
	return m.endRevoked(ctx, why, func(user, _ string) bool { return user == userID }, func() ([]string, error) {
		return m.cfg.Store.UserSessions(ctx, userID)
	})
}

// endRevoked ends the sessions that are of revoked grants: those of stored, those that
// start, and units that wait for the first.
func (m *Manager) endRevoked(ctx context.Context, why string, of func(userID, grantID string) bool, stored func() ([]string, error)) (int, error) {
	m.prestart.dropAll(ctx, func(w *prestartUnit) bool { return of(w.access.User.ID, w.access.GrantID) })
	cut := m.interrupt(model.ErrRevoked, why, func(row model.Session) bool { return of(row.UserID, row.GrantID) })
	ids, err := stored()
	if err != nil {
		return 0, err
	}
	var ended atomic.Int64
	err = m.endAll(ctx, ids, func(s *Session) error {
		err := m.end(ctx, s, why)
		if err == nil {
			ended.Add(1)
		}
		return err
	})
	m.stopUnits(ctx, cut...)
	return int(ended.Load()), err
}

// loginLost ends all sessions of a user whose login the forge does not take any more. Their
// calls in flight are told so, and what starts finds out by itself.
func (m *Manager) loginLost(userID string, why forgejo.Kind) {
	for _, o := range m.members() {
		if o.Session.row.UserID == userID {
			o.Unit.LoseLogin()
		}
	}
	outcome := Revoked
	if why == forgejo.Suspended {
		outcome = suspended
	}
	go func() {
		ctx := context.Background()
		m.prestart.dropAll(ctx, func(w *prestartUnit) bool { return w.access.User.ID == userID })
		ids, err := m.cfg.Store.UserSessions(ctx, userID)
		if err == nil {
			err = m.endAll(ctx, ids, func(s *Session) error { return m.finish(ctx, s, outcome) })
		}
		if err != nil {
			m.cfg.Log.Error("cannot end the sessions of a user whose login is lost; they end by their idle time", "error", err)
		}
	}()
}

func (m *Manager) endAll(ctx context.Context, ids []string, end func(*Session) error) error {
	var ends errgroup.Group
	for _, id := range ids {
		ends.Go(func() error {
			s, err := m.lookup(ctx, id)
			if errors.Is(err, model.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			return end(s)
		})
	}
	return ends.Wait()
}

// endStored ends a session that is too old, whether or not it was ever used here.
func (m *Manager) endStored(ctx context.Context, id string) error {
	m.mu.Lock()
	s := m.sessions[id]
	m.mu.Unlock()
	if s == nil {
		return m.cfg.Store.DeleteSession(ctx, id)
	}
	return m.end(ctx, s, tooOld)
}

// attempt is the start of one session's unit, until the unit serves it. What ends the
// session ends the attempt, so that it need not wait for a backend that does not
// answer.
type attempt struct {
	session *Session
	cancel  context.CancelFunc

	// under manager.mu
	refusal error  // what those are told who wait for it, once it was ended
	why     string // it was ended, for the audit
}

// attempt begins one; over must follow.
func (s *Session) attempt(ctx context.Context) (context.Context, *attempt) {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{session: s, cancel: cancel}
	m := s.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts[s] = a
	return ctx, a
}

// over says that nothing is to be ended any more.
func (a *attempt) over() {
	m := a.session.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.attempts[a.session] == a { // and not one of the next request's
		delete(m.attempts, a.session)
	}
	a.cancel()
}

// outcome is err, unless the attempt was ended.
func (a *attempt) outcome(err error) error {
	m := a.session.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.refusal != nil {
		return a.refusal
	}
	return err
}

// reason is why the attempt was ended; Revoked where the store knew before.
func (a *attempt) reason() string {
	m := a.session.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	return cmp.Or(a.why, Revoked)
}

// interrupt ends the attempts of the sessions that are meant. Those who wait for one
// get refusal. A session that is not yet stored ends with its attempt. The sessions
// whose attempts were ended are returned.
func (m *Manager) interrupt(refusal error, why string, meant func(model.Session) bool) (cut []*Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s, a := range m.attempts {
		if a.refusal == nil && meant(s.row) {
			a.refusal, a.why = refusal, why
			a.cancel()
			cut = append(cut, s)
		}
	}
	return cut
}
