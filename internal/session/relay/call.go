package relay

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

const (
	// maxEvents and maxEventBytes bound what waits for a slow client of one call
	// before progress and log messages are dropped.
	maxEvents     = 256
	maxEventBytes = 1 << 20
	// overhead is what a message that waits costs beside its bytes.
	overhead = 128
)

// Call is one request in flight.
type Call struct {
	Method string    // of the request
	Tool   string    // that a tools/call names
	Began  time.Time // when the client's request came

	relay    *Relay
	id       uint64 // the child's for it
	clientID json.RawMessage
	token    json.RawMessage // the client's progress token; nil without one
	standing bool            // subscriptions/listen
	gated    bool            // takes part in turns
	ready    chan struct{}   // holds one value when there may be something to take

	// under relay.mu
	tag       string
	sent      bool        // to the child
	running   bool        // see turns
	open      int         // questions that wait for the client's answer
	asking    func() bool // the timer that ends its turn after a question
	cancelled bool        // the child was told; nothing more comes of it
	left      bool        // nobody takes what comes
	events    []Event
	final     *Event
	queued    int         // size of events and final
	stop      func() bool // the timer that ends the wait for a child's answer
}

// Event is one message for the client of a call.
type Event struct {
	Raw    []byte // nil in the final event of a call that ended without a response
	Final  bool   // nothing follows
	Failed bool   // the response is an error, or the result of a tool that failed

	// Question, if not empty, is the id under which Relay.Respond or Relay.Refuse
	// takes the answer to a request of the child. It is the id in Raw.
	Question string
}

func (e Event) size() int { return len(e.Raw) + overhead }

// Next waits for the next message of the call: what the child says meanwhile,
// then the response under the client's own id. One goroutine at a time calls it.
// ErrClosed: the child has ended and no response will come. ErrSuspended: what has
// not been taken is in the State.
func (c *Call) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok, err := c.take(); ok || err != nil {
			return e, err
		}
		select {
		case <-c.ready:
		case <-c.relay.done:
		case <-c.relay.suspended:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

func (c *Call) take() (e Event, ok bool, err error) {
	r := c.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.paused:
		return Event{}, false, ErrSuspended
	case len(c.events) > 0:
		e = c.events[0]
		c.events[0] = Event{}
		c.events = c.events[1:]
	case c.cancelled:
		return Event{Final: true}, true, nil
	case c.final != nil:
		e = *c.final
		c.final = nil
		delete(r.answered, c)
	case r.closed:
		r.end(c)
		return Event{}, false, ErrClosed
	default:
		return Event{}, false, nil
	}
	c.count(-e.size())
	return e, true, nil
}

// SetTag keeps a word of the owner's with the call, for State.
func (c *Call) SetTag(tag string) {
	c.relay.mu.Lock()
	defer c.relay.mu.Unlock()
	c.tag = tag
}

// Tag is what SetTag set.
func (c *Call) Tag() string {
	c.relay.mu.Lock()
	defer c.relay.mu.Unlock()
	return c.tag
}

// ClientID is the raw JSON of the client's id for the call.
func (c *Call) ClientID() json.RawMessage { return c.clientID }

// ProgressToken is the raw JSON of the client's progress token, nil without one.
func (c *Call) ProgressToken() json.RawMessage { return c.token }

// Cancelled reports whether the child was told that the call is cancelled.
func (c *Call) Cancelled() bool {
	c.relay.mu.Lock()
	defer c.relay.mu.Unlock()
	return c.cancelled
}

// Cancel tells the child that the call is cancelled, and ends it for its client:
// Next gives a final event without a message. The call keeps its slot until the
// child answers, at most for Config.Abandon; a standing call has none to keep.
// Reason is for the child's log.
func (c *Call) Cancel(reason string) {
	r := c.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel(c) {
		r.child.Put(cancellation(c.id, reason))
	}
}

func cancellation(id uint64, reason string) []byte {
	why, _ := json.Marshal(reason)
	return append(append(append(append([]byte(`{"jsonrpc":"2.0","method":"`+mcp.MethodCancelled+`","params":{"requestId":`), number(id)...), `,"reason":`...), why...), "}}\n"...)
}

// Leave says that nobody will take what comes of the call. It stays in flight, but
// after Config.Abandon it is cancelled and loses its slot.
func (c *Call) Leave() {
	r := c.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.left || r.paused {
		return
	}
	c.left = true
	c.discard()
	r.unask(c)
	if r.calls[c.id] == c && c.stop == nil && !r.closed {
		c.stop = r.cfg.AfterFunc(r.cfg.Abandon, func() { r.abandon(c) })
	}
}

// Abandon is Cancel of a call whose slot is free at once.
func (c *Call) Abandon(reason string) {
	c.Cancel(reason)
	c.relay.abandon(c)
}

// cancel ends a call for its client, and reports whether the child is to be told.
// Called with mu held.
func (r *Relay) cancel(c *Call) (tell bool) {
	if c.cancelled || r.paused {
		return false
	}
	c.cancelled = true
	c.discard()
	c.wake()
	if r.calls[c.id] != c || !c.sent { // it has ended, or the child does not know of it yet
		r.end(c)
		return false
	}
	r.unask(c)
	if c.standing {
		r.end(c)
		return true
	}
	c.stopTimer()
	c.stop = r.cfg.AfterFunc(r.cfg.Abandon, func() { r.abandon(c) })
	return true
}

// abandon takes a call's slot that the child has not answered in time.
func (r *Relay) abandon(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[c.id] != c || r.closed || r.paused {
		return
	}
	if !c.cancelled {
		r.reply(cancellation(c.id, "no client waits for it"), c.Method)
	}
	if !c.standing {
		r.abandoned[c.id] = true
	}
	if len(r.abandoned) > maxAbandoned {
		r.abandoned, r.forgotten = map[uint64]bool{}, true
	}
	r.end(c)
}

func (c *Call) stopTimer() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

// finish delivers the last event. Called with relay.mu held.
func (c *Call) finish(e Event) {
	if c.deaf() {
		return
	}
	c.final = &e
	c.relay.answered[c] = true
	c.count(e.size())
	c.wake()
}

// deaf reports whether nobody takes what comes. Called with relay.mu held.
func (c *Call) deaf() bool { return c.left || c.cancelled }

// offer hands the client a message, or drops it when the client does not keep up.
// Called with relay.mu held.
func (c *Call) offer(e Event) bool {
	n := len(c.events)
	if c.deaf() || n >= maxEvents || n > 0 && c.queued+e.size() > maxEventBytes {
		return false
	}
	c.events = append(c.events, e)
	c.count(e.size())
	c.wake()
	return true
}

// discard forgets what waits. Called with relay.mu held.
func (c *Call) discard() {
	c.events, c.final = nil, nil
	delete(c.relay.answered, c)
	c.count(-c.queued)
}

// Hold counts an event that Next gave among what waits, until release is called:
// while it is being written to a client that may not read, the child is to wait.
func (c *Call) Hold(e Event) (release func()) {
	r, bytes := c.relay, e.size()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(bytes)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.count(-bytes)
	}
}

// count adds bytes that wait to be taken. Called with relay.mu held.
func (c *Call) count(bytes int) {
	c.queued += bytes
	c.relay.count(bytes)
}

// count is called with mu held.
func (r *Relay) count(bytes int) {
	r.queued += bytes
	if r.taken != nil && r.queued <= r.cfg.MaxQueued {
		close(r.taken)
		r.taken = nil
	}
}

func (c *Call) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// number is an id as JSON.
func number(id uint64) json.RawMessage { return strconv.AppendUint(nil, id, 10) }
