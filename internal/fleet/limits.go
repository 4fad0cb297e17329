package fleet

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// reserve makes room if need be by stopping the longest idle unit of the user, or of
// all. One that ends already is waited for.
func (f *Fleet[S]) reserve(ctx context.Context, u *unit.Unit, userID string, s S) error {
	for {
		victim, err := f.place(u, userID, s)
		if err != nil || victim == nil {
			return err
		}
		if !victim.Ending() {
			victim.Stop(ctx)
		}
		if err := victim.AwaitGone(ctx); err != nil {
			return err
		}
	}
}

// place enters u among the units, or names one that must go first.
func (f *Fleet[S]) place(u *unit.Unit, userID string, s S) (victim *unit.Unit, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrBusy
	}
	own := f.idlest(func(o *Member[S]) bool { return o.userID == userID })
	all := f.idlest(func(*Member[S]) bool { return true })
	switch {
	case own.count >= f.cfg.PerUser:
		victim = own.unit
	case all.count >= f.cfg.Max:
		victim = all.unit
	default:
		f.members[u.ID()] = &Member[S]{Unit: u, Session: s, userID: userID}
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

func (f *Fleet[S]) idlest(of func(*Member[S]) bool) candidates {
	var c candidates
	var oldest time.Time
	var ending *unit.Unit
	for _, o := range f.members {
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
