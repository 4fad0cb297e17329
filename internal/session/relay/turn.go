package relay

import (
	"context"
	"slices"
	"time"
)

// turns has calls run one at a time, once the child has asked its client
// something: what it asks next can then be told to belong to the call that runs.
// Under Relay.mu.
type turns struct {
	serial  bool
	running int      // calls that have the turn; more than one only from before
	waiting []Waiter // in order of arrival
	answers int      // bytes of the answers in waiting
}

// Waiter is a call that waits for its turn, to begin or to continue.
type Waiter struct {
	Call   uint64 `json:"call"`
	Answer []byte `json:"line"` // what it continues with; nil for one that begins
}

// awaitTurnLocked gives c the turn, at once if it need not wait; else it calls placed, and
// waits until c has the turn or is cancelled, or the Relay is not usable any more. Releases
// the lock while it waits. The error is ctx's.
func (r *Relay) awaitTurnLocked(ctx context.Context, c *Call, placed func()) error {
	switch t := &r.turns; {
	case !c.gated:
		return nil
	case !t.serial || t.running == 0 && len(t.waiting) == 0:
		r.runLocked(c)
		return nil
	}
	r.turns.waiting = append(r.turns.waiting, Waiter{Call: c.ID})
	placed()
	r.mu.Unlock()
	defer r.mu.Lock()
	return r.await(ctx, c.ready)
}

// runLocked gives c the turn.
func (r *Relay) runLocked(c *Call) {
	if !c.running {
		c.running = true
		r.turns.running++
	}
}

// restLocked takes the turn from c while it waits for its client's answer, or for good.
func (r *Relay) restLocked(c *Call) {
	if c.running {
		c.running = false
		r.turns.running--
	}
	r.passLocked()
}

// Gather is how long a child that asks its client something may take to ask for
// more at once.
const Gather = 50 * time.Millisecond

// restSoonLocked lets c rest when the child has asked no more for it for a while: until
// then another call's beginning would make it unclear what belongs to whom.
func (r *Relay) restSoonLocked(c *Call) {
	if c.asking != nil {
		c.asking()
	}
	c.asking = r.cfg.AfterFunc(Gather, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if c.questions > 0 && r.calls[c.ID] == c && !r.closed && !r.paused {
			r.restLocked(c)
		}
	})
}

// passLocked gives a free turn to whoever has waited longest.
func (r *Relay) passLocked() {
	t := &r.turns
	for t.running == 0 && len(t.waiting) > 0 {
		w := t.waiting[0]
		t.waiting = slices.Delete(t.waiting, 0, 1)
		c := r.calls[w.Call]
		r.runLocked(c)
		if w.Answer == nil {
			c.wake()
			continue
		}
		t.answers -= len(w.Answer)
		r.child.Put(w.Answer)
	}
}

// putInTurnLocked passes an answer to the child when its call has the turn, which it may
// have kept. A call that waits for another answer still continues without.
func (r *Relay) putInTurnLocked(c *Call, answer []byte) {
	if c == nil || !c.gated || c.running || c.questions > 0 || r.calls[c.ID] != c {
		r.child.Put(answer)
		return
	}
	r.turns.waiting = append(r.turns.waiting, Waiter{c.ID, answer})
	r.turns.answers += len(answer)
	r.passLocked()
}

// leaveTurnsLocked is for a call that ends: the child gets the answers that still wait.
func (r *Relay) leaveTurnsLocked(c *Call) {
	t := &r.turns
	t.waiting = slices.DeleteFunc(t.waiting, func(w Waiter) bool {
		if w.Call != c.ID {
			return false
		}
		if w.Answer == nil {
			return true
		}
		t.answers -= len(w.Answer)
		r.child.Put(w.Answer)
		return true
	})
	r.restLocked(c)
}
