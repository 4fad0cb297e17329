package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

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
		Method: request.Method, Began: r.cfg.Now(), relay: r, id: r.cfg.Epoch<<counterBits | r.counter.Add(1),
		// Cloned, since the request may be long and is not kept.
		clientID: bytes.Clone(request.ID()), token: bytes.Clone(request.Param("_meta", "progressToken")),
	}
	if c.Method == mcp.MethodToolsCall {
		c.Tool = request.ParamString("name")
	}
	c.init()
	var token json.RawMessage
	if c.token != nil {
		token = number(c.id)
	}
	line := request.LineWith(number(c.id), token)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.add(c); err != nil {
		return nil, err
	}
	err := r.awaitTurn(ctx, c, placed)
	if err == nil {
		err = r.awaitOutput(ctx, placed)
	}
	switch {
	case c.cancelled: // meanwhile; Next says so
		return c, nil
	case err != nil:
		r.end(c)
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

// add gives a call a slot. Called with mu held.
func (r *Relay) add(c *Call) error {
	if err := r.usable(); err != nil {
		return err
	}
	if c.standing && r.standing >= maxStanding || !c.standing && len(r.calls)-r.standing >= r.cfg.MaxCalls {
		return ErrTooManyCalls
	}
	r.calls[c.id] = c
	if c.standing {
		r.standing++
	}
	return nil
}

// end gives a call's slot and turn back, and refuses what the child still asks for
// it. Called with mu held.
func (r *Relay) end(c *Call) {
	if r.calls[c.id] != c {
		return
	}
	c.stopTimer()
	if c.asking != nil {
		c.asking()
	}
	r.unask(c)
	delete(r.calls, c.id)
	if c.standing {
		r.standing--
	}
	r.leaveTurns(c)
	r.tellDrained()
}

// Notify sends a client's notification. A cancellation is passed on under the
// child's id for the call and ends the call as Call.Cancel does; one that names no
// call in flight is dropped, and so is one that names several, as it can in a
// session that clients share.
func (r *Relay) Notify(ctx context.Context, n mcp.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.Method == mcp.MethodCancelled {
		c := r.byClientID(n.Param("requestId"))
		if c == nil || !r.cancel(c) {
			return nil
		}
		n = n.WithParam(number(c.id), "requestId")
	}
	if err := r.awaitOutput(ctx, func() {}); err != nil {
		return err
	}
	r.child.Put(mcp.Line(n.Raw))
	return nil
}

// byClientID finds the one call in flight that a client knows by id. Called with
// mu held.
func (r *Relay) byClientID(id json.RawMessage) *Call {
	var found *Call
	for _, c := range r.calls {
		if c.cancelled || string(c.clientID) != string(id) {
			continue
		}
		if found != nil {
			r.cfg.Log.Debug("dropped a cancellation that may mean several calls")
			return nil
		}
		found = c
	}
	return found
}

// byID finds a call by the id we gave the child. Called with mu held.
func (r *Relay) byID(id json.RawMessage) *Call {
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return nil
	}
	return r.calls[n]
}

// only returns the call that the child works on when there is just one, standing
// ones aside; several reports that there are more. Called with mu held.
func (r *Relay) only() (one *Call, several bool) {
	for _, c := range r.calls {
		if !c.sent || c.standing {
			continue
		}
		if one != nil {
			return nil, true
		}
		one = c
	}
	return one, false
}

// awaitOutput waits until there is room for what is to be written, and calls placed
// before. Called with mu held, which it releases while it waits.
func (r *Relay) awaitOutput(ctx context.Context, placed func()) error {
	for {
		if err := r.usable(); err != nil {
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
		select {
		case <-room:
		case <-r.done:
		case <-r.suspended:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
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
		r.faults.unread.Note("method", method)
		return
	}
	r.child.Put(line)
}
