package session

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// reserve makes room if need be by stopping the longest idle unit of the user, or of
// all. One that ends already is waited for.
func (p *pool) reserve(ctx context.Context, u *unit.Unit, s *Session) error {
	for {
		victim, err := p.place(u, s)
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
func (p *pool) place(u *unit.Unit, s *Session) (victim *unit.Unit, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrBusy
	}
	own := p.idlestLocked(func(o *member) bool { return o.Session.row.UserID == s.row.UserID })
	all := p.idlestLocked(func(*member) bool { return true })
	switch {
	case own.count >= p.cfg.PerUser:
		victim = own.unit
	case all.count >= p.cfg.Max:
		victim = all.unit
	default:
		p.members[u.ID()] = &member{Unit: u, Session: s}
		return nil, nil
	}
	if victim == nil {
		return nil, ErrBusy
	}
	return victim, nil
}

// candidates counts the units of a kind and names the one that goes first.
type candidates struct {
	count int
	unit  *unit.Unit
}

func (p *pool) idlestLocked(of func(*member) bool) candidates {
	var c candidates
	var oldest time.Time
	var ending *unit.Unit
	for _, o := range p.members {
		if !of(o) {
			continue
		}
		c.count++
		if o.Unit.Ending() {
			ending = o.Unit
			continue
		}
		if !o.serves || o.Unit.InFlight() > 0 { // starting, or at work
			continue
		}
		if used := o.Unit.Used(); c.unit == nil || used.Before(oldest) {
			c.unit, oldest = o.Unit, used
		}
	}
	if ending != nil { // there is room in a moment, and nothing else has to end for it
		c.unit = ending
	}
	return c
}
