package session

import (
	"context"
	"errors"
	"fmt"
	"sync"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// ErrBusy says that the limit of running units is reached and none is idle.
var ErrBusy = errors.New("all sessions are busy")

// pool is all running units of this broker, those that start included, each with the
// session that it is for. It is safe for concurrent use, and never calls a session with
// its lock held.
type pool struct {
	cfg      Config
	door     door
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
func newPool(cfg Config) *pool {
	return &pool{cfg: cfg, members: map[string]*member{}, prestart: newPrestart(cfg)}
}

// StartAhead has a unit started for the first session of access's grant, which is to
// come soon. It does not wait for it. While the door is shut it does nothing.
func (p *pool) StartAhead(access model.Access) {
	leave, err := p.door.Enter()
	if err != nil {
		return
	}
	defer leave()
	p.prestart.Start(access)
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

// Has reports whether a unit runs, starts or waits here.
func (p *pool) Has(unitID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.members[unitID]
	return ok || p.prestart.Has(unitID)
}

// Token is the launchclient.TokenFunc of this broker: the user's access token for a
// unit that is starting, once.
func (p *pool) Token(ctx context.Context, unitID string) (string, error) {
	p.mu.Lock()
	m := p.members[unitID]
	p.mu.Unlock()
	if m == nil {
		return p.prestart.Token(ctx, unitID)
	}
	return m.Unit.Token(ctx)
}

// Reconcile stops the launcher's units that are not of this pool.
func (p *pool) Reconcile(ctx context.Context) error {
	ids, err := p.cfg.Launcher.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list session units: %w", err)
	}
	for _, id := range ids {
		if p.Has(id) {
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
