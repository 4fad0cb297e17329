package session

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/unit"
)

// member is a unit that runs or starts, and whose it is.
type member struct {
	unit    *unit.Unit
	session *Session
}

// reserve makes room if need be by letting the longest idle unit of the user,
// or of all, go dormant.
func (m *Manager) reserve(ctx context.Context, s *Session, u *unit.Unit) error {
	for {
		victim, err := m.place(s, u)
		if err != nil || victim == nil {
			return err
		}
		victim.Stop(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// place enters u among the units, or names one that must go first.
func (m *Manager) place(s *Session, u *unit.Unit) (victim *unit.Unit, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, ErrBusy
	}
	own := m.idlest(func(o *Session) bool { return o.row.UserID == s.row.UserID })
	all := m.idlest(func(*Session) bool { return true })
	switch {
	case own.count >= m.cfg.PerUser:
		victim = own.unit
	case all.count >= m.cfg.Max:
		victim = all.unit
	default:
		m.units[u.ID()] = member{u, s}
		return nil, nil
	}
	if victim == nil {
		return nil, ErrBusy
	}
	return victim, nil
}

// candidates counts the units of a kind and names the longest idle.
type candidates struct {
	count int
	unit  *unit.Unit
}

func (m *Manager) idlest(of func(*Session) bool) candidates {
	var c candidates
	var oldest time.Time
	for _, o := range m.units {
		if !of(o.session) {
			continue
		}
		c.count++
		if o.session.unit != o.unit || o.unit.InFlight() > 0 { // starting, or at work
			continue
		}
		if used := o.unit.Used(); c.unit == nil || used.Before(oldest) {
			c.unit, oldest = o.unit, used
		}
	}
	return c
}
