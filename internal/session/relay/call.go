package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

const (
	// maxEvents and maxEventBytes bound what waits for a slow client of one call
	// before progress and log messages are dropped.
	maxEvents     = 256
	maxEventBytes = 1 << 20
	// overhead is what a message that waits costs besides its bytes.
	overhead = 128
)

// Request is what a client asked for. Its ids and token are JSON, kept as bytes since JSON
// in JSON may be changed in form.
type Request struct {
	ID            uint64    `json:"id"` // the child's for it
	ClientID      []byte    `json:"client_id"`
	ProgressToken []byte    `json:"token,omitempty"` // the client's; nil without one
	Method        string    `json:"method"`
	Tool          string    `json:"tool,omitempty"` // that a tools/call names
	Began         time.Time `json:"began"`          // when it came
}

// Call is one request in flight.
type Call struct {
	Request
	relay    *Relay
	standing bool          // subscriptions/listen
	gated    bool          // takes part in turns
	ready    chan struct{} // holds one value when there may be something to take, or the turn has come

	// under relay.mu
	tag       string
	note      any
	touched   Touched
	sent      bool        // to the child
	running   bool        // see turns
	questions int         // questions that wait for the client's answer
	asking    func() bool // the timer that ends its turn after a question
	cancelled bool        // the child was told; nothing more comes of it
	left      bool        // nobody takes what comes
	events    []Event
	queued    int         // size of events
	stop      func() bool // the timer that ends the wait for a child's answer
}

// Event is one message for the client of a call.
type Event struct {
	Raw    []byte `json:"raw,omitempty"`    // nil in the final event of a call that ended without a response
	Final  bool   `json:"final,omitempty"`  // nothing follows
	At     int    `json:"at,omitempty"`     // where the result begins in Raw; 0 without one
	Result int    `json:"result,omitempty"` // bytes of the result that the child gave
	Failed bool   `json:"failed,omitempty"` // the response is an error, or the result of a tool that failed

	// Question, if not empty, is the id under which Relay.Respond or Call.Refuse
	// takes the answer to a request of the child. It is the id in Raw.
	Question string `json:"question,omitempty"`
}

func (e Event) size() int { return len(e.Raw) + overhead }

// Next waits for the next message of the call: what the child says meanwhile,
// then the response under the client's own id. One goroutine at a time calls it.
// ErrClosed: the child has ended and no response will come. ErrSuspended: what has
// not been taken is in the State.
func (c *Call) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok, err := c.pop(); ok || err != nil {
			return e, err
		}
		if err := c.relay.await(ctx, c.ready); err != nil {
			return Event{}, err
		}
	}
}

// await waits for c, or until the Relay is not usable any more. The error is ctx's.
func (r *Relay) await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
	case <-r.done:
	case <-r.suspended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (c *Call) pop() (e Event, ok bool, err error) {
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
		if e.Final {
			delete(r.answered, c)
		}
	case c.cancelled:
		return Event{Final: true}, true, nil
	case r.closed:
		r.endLocked(c)
		return Event{}, false, ErrClosed
	default:
		return Event{}, false, nil
	}
	c.countLocked(-e.size())
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

// Cancel tells the child that the call is cancelled, and ends it for its client:
// Next gives a final event without a message. The call keeps its slot until the
// child answers, at most for abandonAfter; a standing call has none to keep.
// Reason is for the child's log.
func (c *Call) Cancel(reason string) {
	r := c.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancelLocked(c) {
		r.child.Put(cancellation(c.ID, reason))
	}
}

func cancellation(id uint64, reason string) []byte {
	why, _ := json.Marshal(reason)
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q,"params":{"requestId":%d,"reason":%s}}`+"\n", mcp.MethodCancelled, id, why)
}

// Leave says that nobody will take what comes of the call. It stays in flight, but
// after abandonAfter it is cancelled and loses its slot.
func (c *Call) Leave() {
	r := c.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.left || r.paused {
		return
	}
	c.left = true
	c.discardLocked()
	r.unaskLocked(c)
	if r.calls[c.ID] == c && c.stop == nil && !r.closed {
		c.abandonLaterLocked()
	}
}

func (c *Call) abandonLaterLocked() {
	c.stop = c.relay.cfg.AfterFunc(abandonAfter, func() { c.relay.abandon(c) })
}

// Abandon is Cancel of a call whose slot is free at once.
func (c *Call) Abandon(reason string) {
	c.Cancel(reason)
	c.relay.abandon(c)
}

// cancelLocked ends a call for its client, and reports whether the child is to be told.
func (r *Relay) cancelLocked(c *Call) (tell bool) {
	if c.cancelled || r.paused {
		return false
	}
	c.cancelled = true
	c.discardLocked()
	c.wake()
	if r.calls[c.ID] != c || !c.sent { // it has ended, or the child does not know of it yet
		r.endLocked(c)
		return false
	}
	r.unaskLocked(c)
	if c.standing {
		r.endLocked(c)
		return true
	}
	c.stopTimerLocked()
	c.abandonLaterLocked()
	return true
}

// abandon takes a call's slot that the child has not answered in time.
func (r *Relay) abandon(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[c.ID] != c || r.closed || r.paused {
		return
	}
	if !c.cancelled {
		r.reply(cancellation(c.ID, "no client waits for it"), c.Method)
	}
	if !c.standing {
		r.abandoned[c.ID] = true
	}
	if len(r.abandoned) > maxAbandoned {
		r.abandoned, r.overflowed = map[uint64]bool{}, true
	}
	r.endLocked(c)
}

func (c *Call) stopTimerLocked() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

// finishLocked delivers the last event.
func (c *Call) finishLocked(e Event) {
	if c.deafLocked() {
		return
	}
	c.relay.answered[c] = true
	c.addLocked(e)
}

// deafLocked reports whether nobody takes what comes.
func (c *Call) deafLocked() bool { return c.left || c.cancelled }

// offerLocked hands the client a message, or drops it when the client does not keep up.
func (c *Call) offerLocked(e Event) bool {
	n := len(c.events)
	if c.deafLocked() || n >= maxEvents || n > 0 && c.queued+e.size() > maxEventBytes {
		return false
	}
	c.addLocked(e)
	return true
}

func (c *Call) addLocked(e Event) {
	c.events = append(c.events, e)
	c.countLocked(e.size())
	c.wake()
}

// discardLocked drops what waits.
func (c *Call) discardLocked() {
	c.events = nil
	delete(c.relay.answered, c)
	c.countLocked(-c.queued)
}

// Hold counts an event that Next gave among what waits, until release is called:
// while it is being written to a client that may not read, the child is to wait.
func (c *Call) Hold(e Event) (release func()) {
	r, bytes := c.relay, e.size()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.countLocked(bytes)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.countLocked(-bytes)
	}
}

// countLocked adds bytes that wait to be taken.
func (c *Call) countLocked(bytes int) {
	c.queued += bytes
	c.relay.countLocked(bytes)
}

func (r *Relay) countLocked(bytes int) {
	r.queued += bytes
	if r.queued <= r.cfg.MaxQueued {
		r.tellLocked()
	}
}

func (c *Call) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// number is a call's id as the child gets it, as JSON.
func number(id uint64) json.RawMessage { return strconv.AppendUint(nil, id, 10) }

// numbered reads what number wrote; 0, which is no call's, if it did not. Some backends
// give a number back as a string, or with a fraction.
func numbered(id json.RawMessage) uint64 {
	if n, err := strconv.ParseUint(string(id), 10, 64); err == nil {
		return n
	}
	n, err := strconv.ParseFloat(strings.Trim(string(id), `"`), 64)
	if err != nil || n < 0 || n > 1<<53 || n != math.Trunc(n) {
		return 0
	}
	return uint64(n)
}
