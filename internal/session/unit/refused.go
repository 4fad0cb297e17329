package unit

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// ackTimeout is for a fjmcp-session that does not read.
const ackTimeout = time.Second

// refused notes a refusal and lets the proxy answer the child. So the refusal is
// known before any answer that comes of it.
func (u *Unit) refused(m control.Message) {
	u.refusals.note(m.ID, m.Reason, u.relay.Calls())
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	_ = u.near.Control.Send(ctx, control.Message{Type: control.TypeAck, ID: m.ID})
}
