package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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

	abandoned bool // it is stopped for another, and calls are in flight for which nobody waits
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

// reserve makes room if need be by stopping a unit of the user, or of all: one whose
// calls nobody waits for any more, else the longest idle. One that ends already is waited
// for.
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
	own, ownFirst := m.firstToGoLocked(func(o member) bool { return o.Session.row.UserID == s.row.UserID })
	all, first := m.firstToGoLocked(func(member) bool { return true })
	switch {
	case own >= m.cfg.PerUser:
		first = ownFirst
	case all < m.cfg.Max:
		m.units[u.ID()] = member{Unit: u, Session: s}
		return nil, nil
	}
	if first.Unit == nil {
		return nil, ErrBusy
	}
	m.units[first.Unit.ID()] = first
	return first.Unit, nil
}

// firstToGoLocked counts the units of a kind and returns the one that goes first, the zero
// member if none can: where one ends, there is room in a moment, and nothing else has to
// end for it. Then come those whose calls nobody waits for, then those without calls; of
// several the one that was used last the longest ago.
func (m *Manager) firstToGoLocked(of func(member) bool) (count int, first member) {
	best := 0
	for _, o := range m.units {
		if !of(o) {
			continue
		}
		count++
		rank := 0
		switch serves := o.Session.unit == o.Unit; {
		case o.Unit.Ending():
			rank = 3
		case serves && o.Unit.Deserted():
			rank, o.abandoned = 2, true
		case serves && o.Unit.InFlight() == 0:
			rank = 1
		}
		if rank > best || rank > 0 && rank == best && o.Unit.Used().Before(first.Unit.Used()) {
			best, first = rank, o
		}
	}
	return count, first
}
