package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// ErrBusy says that the limit of running units is reached and none is idle.
var ErrBusy = errors.New("all sessions are busy")

// member is a unit that runs or starts, and the session that it is for.
type member struct {
	Unit    *unit.Unit
	Session *Session
	served  bool // it was its session's unit, and perhaps still is
}

// members are all units with a place, in no order.
func (m *Manager) members() []member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.units))
}

// find returns the unit of that id if it runs, starts or waits here, else nil.
func (m *Manager) find(unitID string) *unit.Unit {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.units[unitID]; ok {
		return o.Unit
	}
	if m.probe != nil && m.probe.ID() == unitID {
		return m.probe
	}
	return m.prestart.Find(unitID)
}

// stopStrays stops the launcher's units that are not of this process.
func (m *Manager) stopStrays(ctx context.Context) error {
	ids, err := m.cfg.Launcher.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list session units: %w", err)
	}
	for _, id := range ids {
		if m.find(id) != nil {
			continue
		}
		m.cfg.Log.Info("stopping a session unit that belongs to no session", "unit", launchproto.UnitName(id))
		if err := m.cfg.Launcher.Stop(ctx, id); err != nil {
			return fmt.Errorf("cannot stop %s: %w", launchproto.UnitName(id), err)
		}
	}
	return nil
}

// reserve makes room if need be by stopping the longest idle unit of the user, or of
// all. One that ends already is waited for.
func (m *Manager) reserve(ctx context.Context, u *unit.Unit, s *Session) error {
	for {
		victim, err := m.place(u, s)
		if err != nil || victim == nil {
			return err
		}
		if err := stopAndAwait(ctx, victim); err != nil {
			return err
		}
	}
}

// stopAndAwait has u stopped, unless it ends already, and waits until it is gone.
func stopAndAwait(ctx context.Context, u *unit.Unit) error {
	if !u.Ending() {
		u.Stop(ctx)
	}
	return u.AwaitGone(ctx)
}

// place enters u among the units, or names one that must go first.
func (m *Manager) place(u *unit.Unit, s *Session) (victim *unit.Unit, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrBusy
	}
	own, ownIdlest := m.idlestLocked(func(o member) bool { return o.Session.row.UserID == s.row.UserID })
	all, idlest := m.idlestLocked(func(member) bool { return true })
	switch {
	case own >= m.cfg.PerUser:
		victim = ownIdlest
	case all >= m.cfg.Max:
		victim = idlest
	default:
		m.units[u.ID()] = member{Unit: u, Session: s}
		return nil, nil
	}
	if victim == nil {
		return nil, ErrBusy
	}
	return victim, nil
}

// idlestLocked counts the units of a kind and returns the one that goes first, nil if none
// can.
func (m *Manager) idlestLocked(of func(member) bool) (count int, idlest *unit.Unit) {
	var oldest time.Time
	var ending *unit.Unit
	for _, o := range m.units {
		if !of(o) {
			continue
		}
		count++
		if o.Unit.Ending() {
			ending = o.Unit
			continue
		}
		if o.Session.unit != o.Unit || o.Unit.InFlight() > 0 { // starting, or at work
			continue
		}
		if used := o.Unit.Used(); idlest == nil || used.Before(oldest) {
			idlest, oldest = o.Unit, used
		}
	}
	// Where one ends, there is room in a moment, and nothing else has to end for it.
	return count, cmp.Or(ending, idlest)
}
