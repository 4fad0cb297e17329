package unit

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Call is one request in flight in a unit.
type Call struct {
	*relay.Call
	unit    *Unit
	refused Refusal
}

// Call sends a request to the backend, as relay.Relay.StartNext does.
func (u *Unit) Call(ctx context.Context, request mcp.Message, placed func()) (*Call, error) {
	c, err := u.relay.StartNext(ctx, request, placed)
	if err != nil {
		return nil, err
	}
	return &Call{Call: c, unit: u}, nil
}

// Announce is relay.Relay.Announce.
func (u *Unit) Announce(method string) { u.relay.Announce(method) }

// Pending returns the calls that InFlight counts, oldest first.
func (u *Unit) Pending() []*relay.Call { return u.relay.Pending() }

// Next is relay.Call.Next.
func (c *Call) Next(ctx context.Context) (relay.Event, error) {
	e, err := c.Call.Next(ctx)
	if e.Final && e.Raw != nil {
		c.refused = c.unit.refusals.attribute(c.Call, e.Raw)
	}
	return e, err
}

// Refusal tells, after the final event, why a request that the tool made to the
// forge was not sent; its Reason is "" if none was held back.
func (c *Call) Refusal() Refusal { return c.refused }

// GrantDead reports whether the forge refused the user's login for good while
// the call ran.
func (c *Call) GrantDead() bool { return c.unit.GrantDead() }

// Failure tells why no answer came, after Next gave relay.ErrClosed.
func (c *Call) Failure() error { return c.unit.Failure() }

// ErrRefused: the backend answered a request of the broker's own with an error.
var ErrRefused = errors.New("the backend refused")

// Ask makes a request of the broker's own. Errors: ErrRefused, relay.ErrClosed,
// or ctx's, upon which the backend is told to forget it.
func (u *Unit) Ask(ctx context.Context, method string, params any) error {
	answer, err := u.Inquire(ctx, method, params)
	if err == nil && answer.IsError() {
		return ErrRefused
	}
	return err
}

// Inquire is Ask that returns the answer, whatever it says.
func (u *Unit) Inquire(ctx context.Context, method string, params any) (mcp.Message, error) {
	return u.ask(ctx, request(method, params))
}

// ask sends a request and returns the response.
func (u *Unit) ask(ctx context.Context, request mcp.Message) (mcp.Message, error) {
	call, err := u.relay.Start(ctx, request)
	if err != nil {
		return mcp.Message{}, err
	}
	for {
		e, err := call.Next(ctx)
		if err != nil {
			call.Abandon("the broker no longer waits for it")
			return mcp.Message{}, err
		}
		if e.Final {
			return mcp.Parse(e.Raw)
		}
	}
}

// request is a message of the broker's own, of params that can be encoded. The relay
// replaces its id.
func request(method string, params any) mcp.Message {
	raw, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": "fjmcp", "method": method, "params": params})
	m, _ := mcp.Parse(raw)
	return m
}
