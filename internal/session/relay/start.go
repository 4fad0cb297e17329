package relay

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// Start sends a request to the child; once the child has asked something, it waits
// for the request's turn first. The caller takes what comes with Call.Next, or says
// with Call.Leave or Call.Cancel that it will not. Errors: ErrClosed, ErrSuspended,
// ErrTooManyCalls, or ctx's.
func (r *Relay) Start(ctx context.Context, request mcp.Message) (*Call, error) {
	return r.StartNext(ctx, request, func() {})
}

// StartNext is Start that calls placed before it waits: requests that are started from
// then on come after this one, unless it waits for a child that does not read. placed
// must neither wait nor use the Relay. It may be called several times, or never.
func (r *Relay) StartNext(ctx context.Context, request mcp.Message, placed func()) (*Call, error) {
	c := &Call{
		relay: r,
		Request: Request{
			ID: r.cfg.Epoch<<counterBits | r.counter.Add(1), Method: request.Method, Began: r.cfg.Now(),
			// Cloned, since the request may be long and is not kept.
			ClientID: bytes.Clone(request.ID()), ProgressToken: bytes.Clone(request.Param("_meta", "progressToken")),
		},
	}
	if c.Method == mcp.MethodToolsCall {
		c.Tool = request.ParamString("name")
	}
	c.init()
	var token json.RawMessage
	if c.ProgressToken != nil {
		token = number(c.ID)
	}
	line := request.LineWith(number(c.ID), token)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.addLocked(c); err != nil {
		return nil, err
	}
	err := r.awaitTurnLocked(ctx, c, placed)
	if err == nil {
		err = r.awaitOutputLocked(ctx, placed)
	}
	switch {
	case c.cancelled: // meanwhile; Next says so
		return c, nil
	case err != nil:
		r.endLocked(c)
		return nil, err
	}
	c.sent = true
	r.child.Put(line)
	return c, nil
}

// init sets what follows from the method. The answer to subscriptions/listen comes
// when the child ends the subscription (2026-07-28, Subscriptions).
func (c *Call) init() {
	c.ready = make(chan struct{}, 1)
	c.standing, c.gated = c.Method == mcp.MethodListen, mcp.Invokes(c.Method)
}

// addLocked gives a call a slot.
func (r *Relay) addLocked(c *Call) error {
	if err := r.usableLocked(); err != nil {
		return err
	}
	if c.standing && r.standing >= maxStanding || !c.standing && len(r.calls)-r.standing >= r.cfg.MaxCalls {
		return ErrTooManyCalls
	}
	r.enterLocked(c)
	return nil
}

func (r *Relay) enterLocked(c *Call) {
	r.calls[c.ID] = c
	if c.standing {
		r.standing++
	}
}

// endLocked gives a call's slot and turn back, and refuses what the child still asks for
// it.
func (r *Relay) endLocked(c *Call) {
	if r.calls[c.ID] != c {
		return
	}
	c.stopTimerLocked()
	if c.asking != nil {
		c.asking()
	}
	r.unaskLocked(c)
	delete(r.calls, c.ID)
	if c.standing {
		r.standing--
	}
	r.leaveTurnsLocked(c)
	r.tellLocked()
}

// Notify sends a client's notification. A cancellation is passed on under the
// child's id for the call and ends the call as Call.Cancel does; one that names no
// call in flight is dropped, and so is one that names several, as it can in a
// session that clients share.
func (r *Relay) Notify(ctx context.Context, n mcp.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.Method == mcp.MethodCancelled {
		id := string(n.Param("requestId"))
		c, several := r.oneLocked(func(c *Call) bool { return !c.cancelled && string(c.ClientID) == id })
		if several {
			r.cfg.Log.Debug("dropped a cancellation that may mean several calls")
		}
		if c == nil || !r.cancelLocked(c) {
			return nil
		}
		n = n.WithParam(number(c.ID), "requestId")
	}
	if err := r.awaitOutputLocked(ctx, func() {}); err != nil {
		return err
	}
	r.child.Put(mcp.Line(n.Raw))
	return nil
}

// onlyLocked returns the call that the child works on when there is just one, standing
// ones aside; several reports that there are more.
func (r *Relay) onlyLocked() (one *Call, several bool) {
	return r.oneLocked(func(c *Call) bool { return c.sent && !c.standing })
}

// awaitOutputLocked waits until there is room for what is to be written, and calls placed
// before. Releases the lock while it waits.
func (r *Relay) awaitOutputLocked(ctx context.Context, placed func()) error {
	for {
		if err := r.usableLocked(); err != nil {
			return err
		}
		room, err := r.child.Room()
		switch {
		case err != nil:
			return ErrClosed
		case room == nil:
			return nil
		}
		placed()
		r.mu.Unlock()
		err = r.await(ctx, room)
		r.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// reply answers the child. The answer is dropped when the child does not read while
// it waits for us.
func (r *Relay) reply(line []byte, method string) {
	if r.child.Pending() >= lines.MaxPending {
		r.faults.Note("backend does not read its input; dropped the answer to its request", "method", method)
		return
	}
	r.child.Put(line)
}
