package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// State is a Relay written down, for the next one over the same child. It holds
// what clients and child say to each other and is to be kept as secret as that.
type State struct {
	Counter   uint64      `json:"counter"`
	Serial    bool        `json:"serial,omitempty"` // the child has asked something
	Calls     []SavedCall `json:"calls,omitempty"`
	Questions []Question  `json:"questions,omitempty"`
	Answers   []Waiter    `json:"answers,omitempty"`   // that wait for their call's turn
	Abandoned []uint64    `json:"abandoned,omitempty"` // calls without a slot that may still be answered
	Forgotten bool        `json:"forgotten,omitempty"` // there were more of them
	Rest      lines.Rest  `json:"rest"`
}

// SavedCall is a call that the child has yet to answer, or whose answer has yet to
// be taken.
type SavedCall struct {
	Request
	Tag       string  `json:"tag,omitempty"`
	Ended     bool    `json:"ended,omitempty"` // the child has answered it
	Running   bool    `json:"running,omitempty"`
	Cancelled bool    `json:"cancelled,omitempty"`
	Left      bool    `json:"left,omitempty"`
	Events    []Event `json:"events,omitempty"` // not yet taken
	Touched   Touched `json:"touched,omitzero"`

	Note json.RawMessage `json:"note,omitempty"`
}

// Suspend stops the Relay and returns what the next one needs. The socket stays
// open, and the child notices nothing. Calls that wait for their turn, or to be
// written, end with ErrSuspended and are not in the State; so do all later uses of
// the Relay. Whoever takes events must have put them where they belong before the
// State is used. An error, ErrClosed or ctx's, means that there is no next one.
func (r *Relay) Suspend(ctx context.Context) (State, error) {
	r.mu.Lock()
	if err := r.usableLocked(); err != nil {
		r.mu.Unlock()
		return State{}, err
	}
	r.paused = true
	close(r.suspended)
	r.tellLocked()
	r.stopTimersLocked()
	r.child.Stop()
	r.mu.Unlock()
	select {
	case <-r.halted:
	case <-ctx.Done():
		return State{}, context.Cause(ctx)
	}
	rest, err := r.child.Rest()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || err != nil {
		return State{}, ErrClosed
	}
	s := r.saveLocked()
	s.Rest = rest
	return s, nil
}

// saveLocked is for when nothing reads any more.
func (r *Relay) saveLocked() State {
	s := State{
		Counter: r.counter.Load(), Serial: r.turns.serial,
		Questions: slices.Collect(maps.Values(r.asked)), Abandoned: slices.Sorted(maps.Keys(r.abandoned)), Forgotten: r.overflowed,
	}
	for _, c := range slices.AppendSeq(r.listLocked(func(c *Call) bool { return c.sent }), maps.Keys(r.answered)) {
		note, _ := json.Marshal(c.note) // an owner's, who knows what becomes JSON
		s.Calls = append(s.Calls, SavedCall{
			Touched: c.touched, Note: note,
			Request: c.Request, Tag: c.tag, Ended: r.answered[c], Running: c.running, Cancelled: c.cancelled, Left: c.left,
			Events: slices.Clone(c.events),
		})
	}
	slices.SortFunc(s.Calls, func(a, b SavedCall) int { return cmp.Compare(a.ID, b.ID) })
	s.Answers = slices.DeleteFunc(slices.Clone(r.turns.waiting), func(w Waiter) bool { return w.Answer == nil })
	return s
}

func (r *Relay) restore(s *State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counter.Store(s.Counter)
	r.turns.serial, r.overflowed = s.Serial, s.Forgotten
	for _, id := range s.Abandoned {
		r.abandoned[id] = true
	}
	for _, saved := range s.Calls {
		r.restored = append(r.restored, r.restoreCallLocked(saved))
	}
	for _, q := range s.Questions {
		r.asked[q.ID] = q
		if c := r.calls[q.Call]; c != nil {
			c.questions++
			r.restSoonLocked(c)
		}
	}
	for _, a := range s.Answers {
		r.putInTurnLocked(r.calls[a.Call], a.Answer)
	}
}

func (r *Relay) restoreCallLocked(s SavedCall) *Call {
	c := &Call{Request: s.Request, relay: r, tag: s.Tag, note: s.Note, touched: s.Touched, sent: true, cancelled: s.Cancelled, left: s.Left}
	c.init()
	for _, e := range s.Events {
		if e.Final {
			c.finishLocked(e)
		} else {
			c.addLocked(e)
		}
	}
	if s.Ended {
		return c
	}
	r.enterLocked(c)
	if s.Running {
		r.runLocked(c)
	}
	if c.deafLocked() {
		c.abandonLaterLocked()
	}
	return c
}
