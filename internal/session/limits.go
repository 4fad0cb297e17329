package session

import (
	"context"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// limits are what bounds a session by the operator's policy, as its unit has them.
type limits struct {
	mu   sync.Mutex // held while what holds now is asked for and given to the unit, so that nothing older follows
	unit *unit.Unit // that has them; nil before the first
	key  string     // policy.Limits.Key
}

// bound asks for what bounds the session's login now, see rights.Rights.
type bound func(ctx context.Context, userID, grantID string) (rights.Bound, error)

// boundAlike reports whether access is bound as the session is: by its own login it is.
func (s *Session) boundAlike(ctx context.Context, access model.Access) (bool, error) {
	if access.GrantID == s.row.GrantID {
		return true, nil
	}
	b, err := s.manager.cfg.Rights.OfLogin(ctx, s.row.UserID, s.row.GrantID)
	return b.Key == access.LimitsKey, err
}

// align has u do no more than the policy allows now, and the session's clients told if that
// is something else than before. One that cannot be had so is stopped: relay.ErrClosed.
func (s *Session) align(ctx context.Context, u *unit.Unit, what bound) (rights.Bound, error) {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	b, err := what(ctx, s.row.UserID, s.row.GrantID)
	if err != nil || s.limits.unit == u && s.limits.key == b.Key {
		return b, err
	}
	if u.LimitsKey() != b.Key {
		if err := u.SetMode(context.WithoutCancel(ctx), s.ReadOnly(), b.Limits); err != nil {
			if !s.manager.isClosed() { // else the next process sees to it
				s.manager.cfg.Log.Info("starting a session's unit anew to change what it may do", "unit", u.Name(), "error", err)
				u.Stop(context.WithoutCancel(ctx))
			}
			return b, relay.ErrClosed
		}
	}
	s.givenLocked(u, b.Key)
	return b, nil
}

// givenLocked notes what u has now, and has the session's clients told that their lists are
// others if they have seen those of before. Called with limits.mu held.
func (s *Session) givenLocked(u *unit.Unit, key string) {
	others := s.limits.unit != nil && s.limits.key != key
	s.limits.unit, s.limits.key = u, key
	if others {
		s.ListsChanged()
	}
}

// setMode gives u the session's mode within what holds now.
func (s *Session) setMode(ctx context.Context, u *unit.Unit, readOnly bool) error {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	b, err := s.manager.cfg.Rights.OfLogin(ctx, s.row.UserID, s.row.GrantID)
	if err == nil {
		err = u.SetMode(ctx, readOnly, b.Limits)
	}
	if err == nil {
		s.givenLocked(u, b.Key)
	}
	return err
}

// rightsChanged has all units of a user do no more than the policy allows now, of all users
// if userID is "". It does not wait, and asks no forge: whatever comes next does.
func (m *Manager) rightsChanged(userID string) {
	of := func(id string) bool { return userID == "" || id == userID }
	go m.prestart.dropAll(context.Background(), func(w *prestartUnit) bool { return of(w.access.User.ID) && !w.bound() })
	for _, o := range m.members() {
		if of(o.Session.row.UserID) {
			go o.Session.follow(o.Unit)
		}
	}
}

// follow brings a unit in line. One whose user may do nothing any more is stopped.
func (s *Session) follow(u *unit.Unit) {
	ctx, m := context.Background(), s.manager
	b, err := s.align(ctx, u, m.cfg.Rights.Standing)
	if err == nil && b.Limits.Connect().Allowed || m.isClosed() {
		return
	}
	m.cfg.Log.Info("stopping a session's unit: its user may do nothing any more, or it is not known what", "unit", u.Name(), "session", s.label, "error", err)
	u.Stop(ctx)
}

// bound reports whether w was started with what holds now.
func (w *prestartUnit) bound() bool {
	b, err := w.prestart.cfg.Rights.Standing(context.Background(), w.access.User.ID, w.access.GrantID)
	return err == nil && w.LimitsKey() == b.Key
}

func (m *Manager) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}
