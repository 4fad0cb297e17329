package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

const (
	// prestartPatience is how long a unit waits for its session.
	prestartPatience = time.Minute
	// mostPrestarted is how many units wait at a time.
	mostPrestarted = 16
	// prestartPause is how long nothing is started after the launcher has failed.
	prestartPause = time.Minute
)

// prestart holds the units that wait. It is safe for concurrent use.
type prestart struct {
	cfg  Config
	ctx  context.Context // of starts under way
	stop context.CancelFunc
	work sync.WaitGroup // starts and stops under way

	mu     sync.Mutex
	closed bool
	paused time.Time                // until when nothing is started
	units  map[string]*prestartUnit // not bound yet, by session id
}

// newPrestart returns a prestart, whose Close must be called.
func newPrestart(cfg Config) *prestart {
	p := &prestart{cfg: cfg, units: map[string]*prestartUnit{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Start has a unit started for the first session of a login. It does not wait, and
// does nothing where one waits already, too many do, or the launcher has just failed.
func (p *prestart) Start(access model.Access) {
	w, err := p.add(access)
	if err != nil {
		p.cfg.Log.Info("cannot start a session's unit ahead", "user", access.User.Name, "error", err)
	}
	if w == nil {
		return
	}
	go func() {
		defer p.work.Done()
		err := p.launch(w)
		dropped := !p.has(w)
		w.failed = err != nil
		close(w.launched)
		switch {
		case dropped: // perhaps before there was something to stop
			w.Stop(context.Background())
		case err != nil:
			p.remove(w)
			p.cfg.Log.Info("cannot start a session's unit ahead", "unit", w.Name(), "user", access.User.Name, "error", err)
		}
	}()
}

// add makes a unit and a place for it, where it waits for its session, a timer, or the
// end of the login.
func (p *prestart) add(access model.Access) (*prestartUnit, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if p.closed || len(p.units) >= mostPrestarted || now.Before(p.paused) {
		return nil, nil
	}
	for _, w := range p.units {
		if w.grantID == access.GrantID {
			return nil, nil
		}
	}
	w := &prestartUnit{prestart: p, session: rand.Text(), userID: access.User.ID, grantID: access.GrantID, readOnly: model.ReadOnly(access.Scope), began: now, launched: make(chan struct{})}
	var err error
	w.Unit, err = unit.New(p.cfg.Config, unit.Spec{
		Session: label(w.session), UserID: access.User.ID, User: access.User.Name, ReadOnly: w.readOnly, MaxAge: p.cfg.MaxAge,
		Other: w.hear, Ended: w.ended,
	})
	if err != nil {
		return nil, err
	}
	w.late = p.cfg.AfterFunc(prestartPatience, func() { p.drop(context.Background(), w) })
	p.units[w.session] = w
	p.work.Add(1)
	return w, nil
}

// launch is for a unit that has its place, so that whoever ends the login from now on
// ends the unit too.
func (p *prestart) launch(w *prestartUnit) error {
	ctx, cancel := context.WithTimeoutCause(p.ctx, p.cfg.StartTimeout, unit.ErrStartTimeout)
	defer cancel()
	if err := p.stands(ctx, w); err != nil {
		w.Discard()
		return err
	}
	err := w.Launch(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.units[w.session] == w {
		p.paused = p.cfg.Now().Add(prestartPause)
	}
	return err
}

// stands reports whether the login is still good, here and at the forge.
func (p *prestart) stands(ctx context.Context, w *prestartUnit) error {
	grant, err := p.cfg.Store.Grant(ctx, w.grantID)
	if err == nil && !grant.RevokedAt.IsZero() {
		err = model.ErrRevoked
	}
	if err == nil {
		_, err = p.cfg.Tokens.Token(ctx, w.userID)
	}
	return err
}

// remove deletes a unit's place, and reports whether it had one.
func (p *prestart) remove(w *prestartUnit) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.removeLocked(w)
}

func (p *prestart) removeLocked(w *prestartUnit) bool {
	if p.units[w.session] != w {
		return false
	}
	w.late()
	delete(p.units, w.session)
	return true
}

// has reports whether a unit has its place.
func (p *prestart) has(w *prestartUnit) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.units[w.session] == w
}

// drop stops a unit if it is here.
func (p *prestart) drop(ctx context.Context, w *prestartUnit) {
	p.mu.Lock()
	had := p.removeLocked(w)
	if had {
		p.work.Add(1) // Close has yet to see that the unit is not here
	}
	p.mu.Unlock()
	if had {
		w.Stop(ctx)
		p.work.Done()
	}
}

// EndGrant stops what waits for a session of a grant that has ended.
func (p *prestart) EndGrant(ctx context.Context, grantID string) {
	p.dropAll(ctx, func(w *prestartUnit) bool { return w.grantID == grantID })
}

// EndUser stops what waits for sessions of a user.
func (p *prestart) EndUser(ctx context.Context, userID string) {
	p.dropAll(ctx, func(w *prestartUnit) bool { return w.userID == userID })
}

func (p *prestart) dropAll(ctx context.Context, of func(*prestartUnit) bool) {
	var all sync.WaitGroup
	for _, w := range p.all(of) {
		all.Go(func() { p.drop(ctx, w) })
	}
	all.Wait()
}

// all are the units that are not bound.
func (p *prestart) all(of func(*prestartUnit) bool) []*prestartUnit {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*prestartUnit
	for _, w := range p.units {
		if of(w) {
			all = append(all, w)
		}
	}
	return all
}

// Len counts the units that wait or start.
func (p *prestart) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.units)
}

// find returns the unit of that id, nil if it is not here.
func (p *prestart) find(unitID string) *prestartUnit {
	if found := p.all(func(w *prestartUnit) bool { return w.ID() == unitID }); len(found) > 0 {
		return found[0]
	}
	return nil
}

// Has reports whether a unit is here.
func (p *prestart) Has(unitID string) bool { return p.find(unitID) != nil }

// errNotWaiting: no unit of that id is here.
var errNotWaiting = errors.New("no unit waits under this id")

// Token is unit.Unit.Token of a unit that is here, or errNotWaiting.
func (p *prestart) Token(ctx context.Context, unitID string) (string, error) {
	w := p.find(unitID)
	if w == nil {
		return "", fmt.Errorf("%s: %w", launchproto.UnitName(unitID), errNotWaiting)
	}
	return w.Token(ctx)
}

// Close stops all units that are not bound, and starts none any more.
func (p *prestart) Close(ctx context.Context) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.dropAll(ctx, func(*prestartUnit) bool { return true })
	p.work.Wait()
}
