package session

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
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
	within, err := p.cfg.Rights.Standing(p.ctx, access.User.ID, access.GrantID) // asked about at the login
	var w *prestartUnit
	if err == nil && within.Limits.Connect().Allowed {
		w, err = p.add(access, within.Limits)
	}
	if err != nil {
		p.cfg.Log.Info("cannot start a session's unit ahead", "user", access.User.Name, "error", err)
	}
	if w == nil {
		return
	}
	go func() {
		defer p.work.Done()
		err := p.launch(w)
		p.mu.Lock()
		dropped := p.units[w.session] != w
		if err != nil && p.removeLocked(w) && StartReason(err) != "" { // not the login's fault
			p.paused = p.cfg.Now().Add(prestartPause)
		}
		p.mu.Unlock()
		close(w.launched)
		switch {
		case dropped: // perhaps before there was something to stop
			w.Stop(context.Background())
		case err != nil:
			p.cfg.Log.Info("cannot start a session's unit ahead", "unit", w.Name(), "user", access.User.Name, "error", err)
		}
	}()
}

// add makes a unit and a place for it, where it waits for its session, a timer, or the
// end of the login.
func (p *prestart) add(access model.Access, within policy.Limits) (*prestartUnit, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if p.closed || len(p.units) >= mostPrestarted || now.Before(p.paused) {
		return nil, nil
	}
	for _, w := range p.units {
		if w.access.GrantID == access.GrantID {
			return nil, nil
		}
	}
	w := &prestartUnit{prestart: p, session: rand.Text(), access: access, began: now, launched: make(chan struct{})}
	var err error
	w.Unit, err = unit.New(p.cfg.Config, unit.Spec{
		Session: model.SessionLabel(w.session), UserID: access.User.ID, Subject: access.User.Subject, User: access.User.Name, ReadOnly: model.ReadOnly(access.Scope), Limits: within, MaxAge: p.cfg.MaxAge,
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
// ends the unit too. The login must still be good, here and at the forge. A *StartError is
// the launcher's.
func (p *prestart) launch(w *prestartUnit) error {
	ctx, cancel := context.WithTimeoutCause(p.ctx, p.cfg.StartTimeout, unit.ErrStartTimeout)
	defer cancel()
	grant, err := p.cfg.Store.Grant(ctx, w.access.GrantID)
	if err == nil && !grant.RevokedAt.IsZero() {
		err = model.ErrRevoked
	}
	if err == nil {
		err = w.FetchToken(ctx)
	}
	if err != nil {
		w.Discard()
		return err
	}
	return w.Launch(ctx)
}

// removeLocked deletes a unit's place, and reports whether it had one.
func (p *prestart) removeLocked(w *prestartUnit) bool {
	if p.units[w.session] != w {
		return false
	}
	w.late()
	delete(p.units, w.session)
	return true
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
	return slices.DeleteFunc(slices.Collect(maps.Values(p.units)), func(w *prestartUnit) bool { return !of(w) })
}

// Find returns the unit of that id, nil if it does not wait here.
func (p *prestart) Find(unitID string) *unit.Unit {
	if found := p.all(func(w *prestartUnit) bool { return w.ID() == unitID }); len(found) > 0 {
		return found[0].Unit
	}
	return nil
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

// prestartUnit is a unit that was started ahead.
type prestartUnit struct {
	*unit.Unit
	prestart *prestart
	session  string // id of the session to come
	access   model.Access
	began    time.Time
	late     func() bool   // stops the timer, false if it has fired
	launched chan struct{} // closed when the launch is over

	// under prestart.mu
	claimed bool // a session has the id
	gone    bool
	owner   *Session // from Bind on
}

// Claim is for a session of a grant and mode that is about to begin: its id, and when it
// began, which is now unless a unit was started for it, which Await gives. At most one
// session gets a unit's id.
func (p *prestart) Claim(grantID string, readOnly bool) (sessionID string, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.units {
		if w.access.GrantID == grantID && model.ReadOnly(w.access.Scope) == readOnly && !w.claimed {
			w.claimed = true
			return w.session, w.began
		}
	}
	return rand.Text(), p.cfg.Now()
}

// Release undoes Claim for a session that got another id.
func (p *prestart) Release(sessionID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.units[sessionID]; w != nil {
		w.claimed = false
	}
}

// Await returns the running unit of a claimed id, nil if there is none any more. It
// waits for a start under way. Bind or Stop must follow.
func (p *prestart) Await(ctx context.Context, sessionID string) *prestartUnit {
	p.mu.Lock()
	w := p.units[sessionID]
	p.mu.Unlock()
	if w == nil {
		return nil
	}
	select {
	case <-w.launched:
	case <-ctx.Done():
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.units[sessionID] != w || !w.late() {
		return nil
	}
	return w
}

// Bind makes s the unit's owner and reports whether the unit still runs; otherwise s is
// not told of its end.
func (w *prestartUnit) Bind(s *Session) bool {
	p := w.prestart
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.units, w.session)
	w.owner = s
	return !w.gone
}

// hear is unit.Spec.Other. Nobody hears what a backend says before it was spoken to.
func (w *prestartUnit) hear(raw []byte) bool {
	w.prestart.mu.Lock()
	owner := w.owner
	w.prestart.mu.Unlock()
	return owner != nil && owner.hear(raw)
}

// ended is unit.Spec.Ended.
func (w *prestartUnit) ended(u *unit.Unit) {
	<-w.launched
	p := w.prestart
	p.mu.Lock()
	w.gone = true
	owner, waited := w.owner, p.removeLocked(w)
	p.mu.Unlock()
	if owner != nil {
		owner.unitEnded(u)
	} else if fail := u.Failure(); waited && fail != nil {
		p.cfg.Log.Info("a unit that was started ahead has ended", "unit", u.Name(), "error", fail)
	}
}
