package session

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// prestartUnit is a unit that was started ahead.
type prestartUnit struct {
	*unit.Unit
	prestart *prestart
	session  string // id of the session to come
	userID   string
	grantID  string
	readOnly bool
	began    time.Time
	late     func() bool   // stops the timer, false if it has fired
	launched chan struct{} // closed when the launch is over
	failed   bool          // the launch has failed; constant once launched

	// under prestart.mu
	claimed bool // a session has the id
	gone    bool
	owner   *Session // from Bind on
}

// Claim is for a session of a grant and mode that is about to begin: its id, and when
// it began if a unit was started for it, which Await gives. At most one session gets a
// unit's id.
func (p *prestart) Claim(grantID string, readOnly bool) (sessionID string, began time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.units {
		if w.grantID == grantID && w.readOnly == readOnly && !w.claimed {
			w.claimed = true
			return w.session, w.began, true
		}
	}
	return "", time.Time{}, false
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
	if p.units[sessionID] != w || w.failed || !w.late() {
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
	owner := w.owner
	p.mu.Unlock()
	if owner != nil {
		owner.unitEnded(u)
		return
	}
	if fail := u.Failure(); p.remove(w) && fail != nil && !w.failed {
		p.cfg.Log.Info("a unit that was started ahead has ended", "unit", u.Name(), "error", fail)
	}
}
