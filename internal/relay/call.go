package relay

import (
	"context"
	"encoding/json"
	"time"
)

// eventBuffer is how many messages wait for a slow client before progress and
// log messages are dropped.
const eventBuffer = 64

// Call is one request in flight.
type Call struct {
	Method string    // of the request
	Tool   string    // that a tools/call names
	Began  time.Time // when the client's request came

	relay         *Relay
	id            uint64
	clientID      json.RawMessage
	progressToken json.RawMessage
	events        chan []byte
	final         chan []byte
}

// Event is one message for the client of a call.
type Event struct {
	Raw   []byte // nil in the final event of a call the client cancelled
	Final bool   // the response; nothing follows
}

// Next waits for the next message of the call: what the child says meanwhile,
// then the response under the client's own id. ErrClosed: the child has ended
// and no response will come.
func (c *Call) Next(ctx context.Context) (Event, error) {
	select { // what came before the response goes before it
	case raw := <-c.events:
		return Event{Raw: raw}, nil
	default:
	}
	select {
	case raw := <-c.events:
		return Event{Raw: raw}, nil
	case raw := <-c.final:
		return c.last(raw), nil
	case <-c.relay.done:
		return c.afterClose()
	case <-ctx.Done():
		return Event{}, context.Cause(ctx)
	}
}

// last holds the response back while an event that came before it waits.
func (c *Call) last(raw []byte) Event {
	select {
	case event := <-c.events:
		c.final <- raw
		return Event{Raw: event}
	default:
		return Event{Raw: raw, Final: true}
	}
}

// afterClose gives out what arrived before the child ended.
func (c *Call) afterClose() (Event, error) {
	select {
	case raw := <-c.events:
		return Event{Raw: raw}, nil
	case raw := <-c.final:
		return c.last(raw), nil
	default:
		c.relay.remove(c)
		return Event{}, ErrClosed
	}
}

// finish delivers the response, or with nil ends the call without one.
func (c *Call) finish(raw []byte) {
	select {
	case c.final <- raw:
	default: // answered already
	}
}

// offer hands the client a message, or drops it when the client does not keep up.
func (c *Call) offer(raw []byte) bool {
	select {
	case c.events <- raw:
		return true
	default:
		return false
	}
}
