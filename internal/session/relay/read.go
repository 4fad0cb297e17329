package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// read takes the child's lines until it closes its end.
func (r *Relay) read() {
	defer close(r.halted)
	for r.awaitTaken() {
		line, err := r.child.Next()
		switch {
		case err == nil:
			r.take(line)
		case errors.Is(err, lines.ErrStopped):
			return
		default:
			r.Close()
			return
		}
	}
}

// awaitTaken waits while too much waits to be taken. It reports whether to go on.
func (r *Relay) awaitTaken() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.queued > r.cfg.MaxQueued && !r.closed && !r.paused {
		if r.taken == nil {
			r.taken = make(chan struct{})
		}
		taken := r.taken
		r.mu.Unlock()
		select {
		case <-taken:
		case <-r.done:
		case <-r.suspended:
		}
		r.mu.Lock()
	}
	return !r.closed && !r.paused
}

// take takes one line. It keeps nothing of it.
func (r *Relay) take(line []byte) {
	line = bytes.TrimRight(line, "\r")
	if len(bytes.TrimLeft(line, " \t\r")) == 0 {
		return
	}
	m, err := mcp.Parse(line)
	first := r.resync
	r.resync = false
	switch {
	case err != nil && first:
		r.cfg.Log.Debug("dropped the rest of a line", "bytes", len(line))
		return
	case err != nil:
		r.faults.rubbish.Note("bytes", len(line), "error", err)
		return
	}
	switch m.Kind {
	case mcp.Response:
		r.takeResponse(m)
	case mcp.Notification:
		r.takeNotification(m)
	case mcp.Request:
		r.takeQuestion(m)
	}
}

func (r *Relay) takeResponse(m mcp.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.byID(m.ID())
	if c == nil || !c.sent {
		if n, err := strconv.ParseUint(string(m.ID()), 10, 64); err == nil {
			delete(r.abandoned, n)
			r.tellDrained()
		}
		r.cfg.Log.Debug("backend answered a call that is not in flight", "id", string(m.ID()))
		return
	}
	if !c.deaf() {
		r.mu.Unlock() // the message may be large
		e := c.response(m)
		r.mu.Lock()
		if r.calls[c.id] == c {
			c.finish(e)
		}
	}
	r.end(c)
}

// response is the last event of a call that was answered.
func (c *Call) response(m mcp.Message) Event {
	if c.standing {
		m = m.WithResultField(c.clientID, "_meta", mcp.MetaSubscriptionID)
	}
	failed := m.IsError() || c.Method == mcp.MethodToolsCall && m.Failed()
	return Event{Raw: m.WithID(c.clientID), Final: true, Failed: failed}
}

// takeNotification routes what the child says beside its answers. Progress and
// what comes of a subscription name their call. A log message belongs to the call
// in flight when there is just one. The rest is about no call.
func (r *Relay) takeNotification(m mcp.Message) {
	switch m.Method {
	case mcp.MethodCancelled:
		r.takeCancellation(m)
		return
	case mcp.MethodProgress:
		r.forward(m, m.Param("progressToken"), (*Call).progress)
		return
	}
	if id := m.Param("_meta", mcp.MetaSubscriptionID); id != nil {
		r.forward(m, id, (*Call).notice)
		return
	}
	raw := bytes.Clone(m.Raw)
	if m.Method != mcp.MethodLog || !r.log(raw) {
		r.cfg.Other(raw)
	}
}

// progress and notice are m as the call's client knows it, nil when it cannot be
// the call's.
func (c *Call) progress(m mcp.Message) []byte {
	if c.token == nil {
		return nil
	}
	return m.WithParam(c.token, "progressToken").Raw
}

func (c *Call) notice(m mcp.Message) []byte {
	if !c.standing {
		return nil
	}
	return m.WithParam(c.clientID, "_meta", mcp.MetaSubscriptionID).Raw
}

// forward hands m to the call that id names.
func (r *Relay) forward(m mcp.Message, id json.RawMessage, as func(*Call, mcp.Message) []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var raw []byte
	c := r.byID(id)
	if c != nil {
		raw = as(c, m)
	}
	if raw == nil || !c.offer(Event{Raw: raw}) {
		r.cfg.Log.Debug("dropped a message of the backend's", "method", m.Method, "id", string(id))
	}
}

// log reports whether a log line belongs to a call; its client may lose it.
func (r *Relay) log(raw []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, _ := r.only()
	if c != nil {
		c.offer(Event{Raw: raw})
	}
	return c != nil
}
