package unit

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
)

const (
	maxRefusals = 100         // bounds what a unit can have the broker remember
	ackTimeout  = time.Second // for a fjmcp-session that does not read
)

// refusal is a request that the proxy did not send, and the tool calls one of
// which made it.
type refusal struct {
	id     string
	reason control.Reason
	calls  []*relay.Call // in flight when it was refused, and not answered yet
	alone  bool          // there was just one
}

// refusals are those that belong to no answered call yet, oldest first; under
// Unit.mu.
type refusals []refusal

// refused notes a refusal and lets the proxy answer the child. So the refusal is
// known before any answer that comes of it.
func (u *Unit) refused(m control.Message) {
	r := refusal{id: m.ID, reason: m.Reason}
	for _, c := range u.relay.Calls() {
		if c.Method == mcp.MethodToolsCall {
			r.calls = append(r.calls, c)
		}
	}
	r.alone = len(r.calls) == 1
	if len(r.calls) > 0 && r.id != "" {
		u.mu.Lock()
		u.refusals = append(u.refusals[max(0, len(u.refusals)-maxRefusals+1):], r)
		u.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	_ = u.control.Send(ctx, control.Message{Type: control.TypeAck, ID: m.ID})
}

// refusalOf finds the refusal that a tool call's answer comes of, "" if there is
// none.
func (u *Unit) refusalOf(c *relay.Call, answer []byte) control.Reason {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.refusals.settle(c, answer)
}

// settle attributes at most one refusal to an answered call and strikes the call
// from the others. The id in the answer is proof. A backend may hide it, as
// forgejo-mcp does for some methods of its SDK that look at the status only; then
// it is the call's if no other was in flight, or if the call failed.
func (rs *refusals) settle(c *relay.Call, answer []byte) control.Reason {
	if len(*rs) == 0 {
		return ""
	}
	at := slices.IndexFunc(*rs, func(r refusal) bool {
		return slices.Contains(r.calls, c) && bytes.Contains(answer, []byte(r.id))
	})
	if at < 0 {
		failed := failedAnswer(answer)
		at = slices.IndexFunc(*rs, func(r refusal) bool {
			return slices.Contains(r.calls, c) && (failed || r.alone)
		})
	}
	var reason control.Reason
	if at >= 0 {
		reason = (*rs)[at].reason
		*rs = slices.Delete(*rs, at, at+1)
	}
	rs.strike(c)
	return reason
}

// strike removes an answered call from all refusals, and those left without one.
func (rs *refusals) strike(c *relay.Call) {
	for i := range *rs {
		r := &(*rs)[i]
		r.calls = slices.DeleteFunc(r.calls, func(o *relay.Call) bool { return o == c })
	}
	*rs = slices.DeleteFunc(*rs, func(r refusal) bool { return len(r.calls) == 0 })
}

// failedAnswer reports whether a response to tools/call says that the call failed.
func failedAnswer(raw []byte) bool {
	m, err := mcp.Parse(raw)
	return err != nil || m.Failed()
}
