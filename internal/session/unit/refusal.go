package unit

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// mostRefusals bounds what a unit can have the broker remember.
const mostRefusals = 100

// Refusal says why a request of a tool was not sent to the forge. The zero value is none.
type Refusal struct {
	Reason control.Reason
	Rule   string // of the policy that denies it, "" for none
	Text   string // for the user, where Reason is control.ReasonPolicy
}

// Bounds of what a Refusal holds, in bytes.
const (
	mostRule = 64
	mostText = 1 << 10
)

// refusal is one, and the tool calls one of which made the request.
type refusal struct {
	Refusal
	id    string
	calls []*relay.Call // in flight when it was refused, and not answered yet
	alone bool          // there was just one
}

// refusals are those of a unit that belong to no answered call yet. The zero value has
// none. It is safe for concurrent use.
type refusals struct {
	mu  sync.Mutex
	all []refusal // oldest first
}

// note takes what the proxy reported of a request while calls were in flight.
func (rs *refusals) note(m control.Message, calls []*relay.Call) {
	calls = slices.DeleteFunc(slices.Clone(calls), func(c *relay.Call) bool { return c.Method != mcp.MethodToolsCall })
	if len(calls) == 0 || m.ID == "" {
		return
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all = append(rs.all[max(0, len(rs.all)-mostRefusals+1):], refusal{
		Refusal: Refusal{m.Reason, m.Rule[:min(len(m.Rule), mostRule)], m.Detail[:min(len(m.Detail), mostText)]},
		id:      m.ID, calls: calls, alone: len(calls) == 1,
	})
}

// attribute attributes at most one refusal to an answered call, strikes the call from the
// others, and returns it, or none. The id in the answer is proof. A
// backend may hide it, as forgejo-mcp does for some methods of its SDK that look at the
// status only; then it is the call's if no other was in flight, or if the call failed.
func (rs *refusals) attribute(c *relay.Call, answer []byte) Refusal {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.all) == 0 {
		return Refusal{}
	}
	at := slices.IndexFunc(rs.all, func(r refusal) bool {
		return slices.Contains(r.calls, c) && bytes.Contains(answer, []byte(r.id))
	})
	if at < 0 {
		failed := failedAnswer(answer)
		at = slices.IndexFunc(rs.all, func(r refusal) bool {
			return slices.Contains(r.calls, c) && (failed || r.alone)
		})
	}
	var found Refusal
	if at >= 0 {
		found = rs.all[at].Refusal
		rs.all = slices.Delete(rs.all, at, at+1)
	}
	rs.strike(c)
	return found
}

// strike removes an answered call from all refusals, and those left without one.
func (rs *refusals) strike(c *relay.Call) {
	for i := range rs.all {
		r := &rs.all[i]
		r.calls = slices.DeleteFunc(r.calls, func(o *relay.Call) bool { return o == c })
	}
	rs.all = slices.DeleteFunc(rs.all, func(r refusal) bool { return len(r.calls) == 0 })
}

// failedAnswer reports whether a response to tools/call says that the call failed.
func failedAnswer(raw []byte) bool {
	m, err := mcp.Parse(raw)
	return err != nil || m.Failed()
}

// ackTimeout is for a fjmcp-session that does not read.
const ackTimeout = time.Second

// refused notes a refusal and lets the proxy answer the child. So the refusal is
// known before any answer that comes of it.
func (u *Unit) refused(m control.Message) {
	if m.Reason == control.ReasonTokenLeaked {
		u.cfg.Leaked(u.spec, u.Name())
	}
	u.refusals.note(m, u.relay.Calls())
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	_ = u.near.Control.Send(ctx, control.Message{Type: control.TypeAck, ID: m.ID})
}
