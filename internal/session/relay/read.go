package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// read handles the child's lines until it closes its end.
func (r *Relay) read() {
	defer close(r.halted)
	for r.awaitRoom() {
		line, err := r.child.Next()
		switch {
		case err == nil:
			r.handle(line)
		case errors.Is(err, lines.ErrStopped):
			return
		default:
			r.Close()
			return
		}
	}
}

// awaitRoom waits while too much waits to be taken. It reports whether to read on.
func (r *Relay) awaitRoom() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.awaitLocked(context.Background(), func() bool { return r.queued <= r.cfg.MaxQueued }) == nil
}

// handle routes one line. It keeps nothing of it.
func (r *Relay) handle(line []byte) {
	line = bytes.TrimRight(line, "\r")
	if len(bytes.TrimLeft(line, " \t\r")) == 0 {
		return
	}
	first := r.resync
	r.resync = false
	if mcp.IsBatch(line) { // which 2025-03-26 allows
		if all, err := mcp.Batch(line); err == nil {
			for _, one := range all {
				r.take(one, false)
			}
			return
		}
	}
	r.take(line, first)
}

// take routes what should be one message. A first one may be the rest of a line.
func (r *Relay) take(raw []byte, first bool) {
	m, err := mcp.Parse(raw)
	if err == nil && m.Kind == mcp.Response {
		err = m.CheckResponse()
	}
	switch {
	case err != nil && first:
		r.cfg.Log.Debug("dropped the rest of a line", "bytes", len(raw))
	case err != nil:
		r.handleMalformed(raw, err)
	case m.Kind == mcp.Response:
		r.handleResponse(m)
	case m.Kind == mcp.Notification:
		r.handleNotification(m)
	default:
		r.handleQuestion(m)
	}
}

func (r *Relay) handleResponse(m mcp.Message) {
	id := numbered(m.ID())
	if code := m.ErrorCode(); string(m.ID()) == "null" && (code == mcp.CodeParseError || code == mcp.CodeInvalidRequest) {
		id = r.only() // any other code would answer a notification, which some backends do
	}
	r.end(id, func(c *Call) Event { return c.response(m) })
}

// end ends the call of an id with its last event.
func (r *Relay) end(id uint64, last func(*Call) Event) {
	if r.cfg.Answering != nil {
		r.cfg.Answering()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.calls[id]
	if c == nil || !c.sent {
		delete(r.abandoned, id)
		r.tellLocked()
		r.cfg.Log.Debug("backend answered a call that is not in flight", "id", id)
		return
	}
	if !c.deafLocked() {
		r.mu.Unlock() // the message may be large
		e := last(c)
		r.mu.Lock()
		if r.calls[c.ID] == c {
			c.finishLocked(e)
		}
	}
	r.endLocked(c)
}

// response is the last event of a call that was answered.
func (c *Call) response(m mcp.Message) Event {
	size := len(m.Result())
	if c.standing {
		m = m.WithResultField(c.ClientID, "_meta", mcp.MetaSubscriptionID)
	}
	failed := m.IsError() || c.Method == mcp.MethodToolsCall && m.Failed()
	m = m.Renumbered(c.ClientID)
	return Event{Raw: m.Raw, Final: true, At: m.ResultAt(), Result: size, Failed: failed}
}

// handleNotification routes what the child says besides its answers. Progress and
// what comes of a subscription name their call. A log message belongs to the call
// in flight when there is just one. The rest is about no call.
func (r *Relay) handleNotification(m mcp.Message) {
	switch m.Method {
	case mcp.MethodCancelled:
		r.handleCancellation(m)
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
	if c.ProgressToken == nil {
		return nil
	}
	return m.WithParam(c.ProgressToken, "progressToken").Raw
}

func (c *Call) notice(m mcp.Message) []byte {
	if !c.standing {
		return nil
	}
	return m.WithParam(c.ClientID, "_meta", mcp.MetaSubscriptionID).Raw
}

// Announce gives each standing call a notification that is not the child's.
func (r *Relay) Announce(method string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if c.standing {
			meta := rawjson.With(nil, rawjson.Member{Name: mcp.MetaSubscriptionID, Value: c.ClientID})
			c.offerLocked(Event{Raw: mcp.NewNotification(method, rawjson.With(nil, rawjson.Member{Name: "_meta", Value: meta}))})
		}
	}
}

// forward hands m to the call that id names.
func (r *Relay) forward(m mcp.Message, id json.RawMessage, as func(*Call, mcp.Message) []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var raw []byte
	c := r.calls[numbered(id)]
	if c != nil {
		raw = as(c, m)
	}
	if raw == nil || !c.offerLocked(Event{Raw: raw}) {
		r.cfg.Log.Debug("dropped a message of the backend's", "method", m.Method, "id", string(id))
	}
}

// log reports whether a log line belongs to a call; its client may lose it.
func (r *Relay) log(raw []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, _ := r.onlyLocked()
	if c != nil {
		c.offerLocked(Event{Raw: raw})
	}
	return c != nil
}
