package relay

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// Question is a request of the child that a client has yet to answer.
type Question struct {
	ID     string `json:"id"`             // the client's
	Childs []byte `json:"childs"`         // the child's id, JSON
	Call   uint64 `json:"call,omitempty"` // 0 when it was asked besides all calls
}

// handleQuestion passes the child's own request to the client it belongs to, under
// an id that no client can mistake for its own nor guess. When nobody can be asked
// the child is told at once, so that it does not wait for ever.
func (r *Relay) handleQuestion(m mcp.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Method == mcp.MethodPing {
		r.reply(mcp.Line(mcp.EmptyResult(m.ID())), m.Method)
		return
	}
	if !r.askLocked(m) {
		r.reply(mcp.Line(mcp.ErrorResponse(m.ID(), mcp.CodeMethodNotFound, "no client can be asked now: "+m.Method)), m.Method)
	}
}

// askLocked reports whether the question reached a stream.
func (r *Relay) askLocked(m mcp.Message) bool {
	c, ok := r.addresseeLocked()
	r.turns.serial = true
	if !ok || len(r.asked) >= r.cfg.MaxCalls {
		return false
	}
	q := Question{ID: "fjmcp-" + rand.Text(), Childs: bytes.Clone(m.ID())}
	raw := m.WithID(json.RawMessage(strconv.Quote(q.ID)))
	switch {
	case c == nil:
		ok = r.cfg.Other(raw)
	case c.offerLocked(Event{Raw: raw, Question: q.ID}):
		q.Call = c.ID
		c.questions++
		r.restSoonLocked(c)
	default:
		ok = false
	}
	if ok {
		r.asked[q.ID] = q
	}
	return ok
}

// addresseeLocked is the call that a question belongs to; nil when it is besides all calls.
// ok is false when it cannot be told.
func (r *Relay) addresseeLocked() (c *Call, ok bool) {
	if r.turns.serial {
		if c, several := r.oneLocked(func(c *Call) bool { return c.sent && c.running }); c != nil || several {
			return c, !several
		}
		if c, several := r.oneLocked(func(c *Call) bool { return c.questions > 0 }); c != nil || several {
			return c, !several
		}
	}
	c, several := r.onlyLocked()
	return c, !several
}

// oneLocked returns the call with a property when there is just one; several reports that
// there are more.
func (r *Relay) oneLocked(is func(*Call) bool) (found *Call, several bool) {
	for _, c := range r.calls {
		if !is(c) {
			continue
		}
		if found != nil {
			return nil, true
		}
		found = c
	}
	return found, false
}

// Respond passes a client's answer to the question it belongs to; the answer waits
// for its call's turn, Respond does not. Errors: ErrNoQuestion, ErrClosed,
// ErrSuspended, and ErrTooManyCalls when too much waits for the child already; then
// the question stays open.
func (r *Relay) Respond(response mcp.Message) error {
	var id string
	if json.Unmarshal(response.ID(), &id) != nil {
		return ErrNoQuestion
	}
	return r.answer(id, func(childs json.RawMessage) []byte { return response.LineWith(childs, nil) })
}

// Respond is Relay.Respond of the call's own child.
func (c *Call) Respond(response mcp.Message) error { return c.relay.Respond(response) }

// Refuse answers a question (Event.Question) with an error. Errors are those of
// Relay.Respond.
func (c *Call) Refuse(question string, code int, message string) error {
	return c.relay.answer(question, func(childs json.RawMessage) []byte {
		return mcp.Line(mcp.ErrorResponse(childs, code, message))
	})
}

func (r *Relay) answer(id string, line func(childs json.RawMessage) []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usableLocked(); err != nil {
		return err
	}
	q, ok := r.asked[id]
	if !ok {
		return ErrNoQuestion
	}
	raw := line(q.Childs)
	if waiting := r.child.Pending() + r.turns.answers; waiting > 0 && waiting+len(raw) > r.cfg.MaxQueued {
		return ErrTooManyCalls
	}
	delete(r.asked, id)
	c := r.calls[q.Call]
	if c != nil {
		c.questions--
	}
	r.putInTurnLocked(c, raw)
	return nil
}

// unaskLocked refuses what the child still asks the client of a call that ends or whose
// client has left. The call works on then.
func (r *Relay) unaskLocked(c *Call) {
	if c.questions == 0 {
		return
	}
	for id, q := range r.asked {
		if q.Call == c.ID {
			delete(r.asked, id)
			r.reply(mcp.Line(mcp.ErrorResponse(q.Childs, mcp.CodeServerError, "the client that was asked has left")), c.Method)
		}
	}
	c.questions = 0
	if c.gated {
		r.runLocked(c)
	}
}

// handleCancellation has the child's word that it wants no answer to its question
// any more, or that it ends a subscription (2026-07-28, Cancellation).
func (r *Relay) handleCancellation(m mcp.Message) {
	id := m.Param("requestId")
	r.mu.Lock()
	defer r.mu.Unlock()
	for ours, q := range r.asked {
		if string(q.Childs) != string(id) {
			continue
		}
		delete(r.asked, ours)
		raw := m.WithParam(json.RawMessage(strconv.Quote(ours)), "requestId").Raw
		c := r.calls[q.Call]
		if c == nil {
			r.cfg.Other(raw)
			return
		}
		c.offerLocked(Event{Raw: raw})
		if c.questions--; c.questions == 0 && c.gated {
			r.runLocked(c)
		}
		return
	}
	if c := r.calls[numbered(id)]; c != nil && c.standing {
		c.finishLocked(Event{Final: true})
		r.endLocked(c)
		return
	}
	r.cfg.Log.Debug("dropped the backend's cancellation of something that is not open", "id", string(id))
}
