package unit

import (
	"context"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Call is one request in flight in a unit.
type Call struct {
	*relay.Call
	unit    *Unit
	refusal control.Reason
}

// Call sends a request to the backend, as relay.Relay.StartNext does.
func (u *Unit) Call(ctx context.Context, request mcp.Message, placed func()) (*Call, error) {
	c, err := u.relay.StartNext(ctx, request, placed)
	if err != nil {
		return nil, err
	}
	return &Call{Call: c, unit: u}, nil
}

// Pending returns the calls that InFlight counts, oldest first.
func (u *Unit) Pending() []*relay.Call { return u.relay.Pending() }

// Next is relay.Call.Next.
func (c *Call) Next(ctx context.Context) (relay.Event, error) {
	e, err := c.Call.Next(ctx)
	if e.Final && e.Raw != nil {
		c.refusal = c.unit.refusals.attribute(c.Call, e.Raw)
	}
	return e, err
}

// Respond is relay.Relay.Respond of the call's own backend.
func (c *Call) Respond(response mcp.Message) error { return c.unit.relay.Respond(response) }

// Refuse is relay.Relay.Refuse of the call's own backend.
func (c *Call) Refuse(question string, code int, message string) error {
	return c.unit.relay.Refuse(question, code, message)
}

// Refusal tells, after the final event, why a request that the tool made to the
// forge was not sent; "" if none was held back.
func (c *Call) Refusal() control.Reason { return c.refusal }

// GrantDead reports whether the forge refused the user's login for good while
// the call ran.
func (c *Call) GrantDead() bool { return c.unit.GrantDead() }

// Failure tells why no answer came, after Next gave relay.ErrClosed.
func (c *Call) Failure() error { return c.unit.Failure() }
