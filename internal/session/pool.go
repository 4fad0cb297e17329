package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// ErrBusy says that the limit of running units is reached and none is idle.
var ErrBusy = errors.New("all sessions are busy")

// pool is all running units of this broker, those that start included, each with the
// session that it is for. It is safe for concurrent use, and never calls a session with
// its lock held.
type pool struct {
	cfg      Config
	door     *door
	prestart *prestart // units for sessions to come, which have no place yet

	mu      sync.Mutex
	members map[string]*member // by unit id
	closed  bool
}

// member is a unit that runs or starts, and whose it is.
type member struct {
	Unit    *unit.Unit
	Session *Session
	serves  bool // its session has it for its unit; under pool.mu
}

// newPool returns a pool without units, whose Close must be called.
func newPool(cfg Config, d *door) *pool {
	return &pool{cfg: cfg, door: d, members: map[string]*member{}, prestart: newPrestart(cfg)}
}

// Serve says that u is its session's unit from now on, which may be stopped for
// another when it is idle, and reports whether u is still there.
func (p *pool) Serve(u *unit.Unit) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.members[u.ID()]
	if m == nil {
		return false
	}
	m.serves = true
	return true
}

// Withdraw undoes Serve for a unit that is about to be stopped.
func (p *pool) Withdraw(u *unit.Unit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.members[u.ID()]; m != nil {
		m.serves = false
	}
}

// Remove takes away the place of a unit that has ended.
func (p *pool) Remove(u *unit.Unit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.members, u.ID())
}

// Members are all units with a place, in no order.
func (p *pool) Members() []member {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]member, 0, len(p.members))
	for _, m := range p.members {
		all = append(all, *m)
	}
	return all
}

// Find returns the unit of that id if it runs, starts or waits here, else nil.
func (p *pool) Find(unitID string) *unit.Unit {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.members[unitID]; m != nil {
		return m.Unit
	}
	return p.prestart.Find(unitID)
}

// Reconcile stops the launcher's units that are not of this pool.
func (p *pool) Reconcile(ctx context.Context) error {
	ids, err := p.cfg.Launcher.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list session units: %w", err)
	}
	for _, id := range ids {
		if p.Find(id) != nil {
			continue
		}
		p.cfg.Log.Info("stopping a session unit that belongs to no session", "unit", launchproto.UnitName(id))
		if err := p.cfg.Launcher.Stop(ctx, id); err != nil {
			return fmt.Errorf("cannot stop %s: %w", launchproto.UnitName(id), err)
		}
	}
	return nil
}

// Close starts no unit any more and ends those there are. One that serves its
// session and can outlive this process is given to leave, which lets go of it.
func (p *pool) Close(ctx context.Context, leave func(context.Context, member)) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	var ends sync.WaitGroup
	for _, m := range p.Members() {
		ends.Go(func() {
			if m.serves && m.Unit.Kept() {
				leave(ctx, m)
			} else {
				m.Unit.Stop(ctx)
			}
		})
	}
	ends.Go(func() { p.prestart.Close(ctx) })
	ends.Wait()
}

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
