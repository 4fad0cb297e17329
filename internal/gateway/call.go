package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/audit"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// call relays one request and answers with JSON when the response is the first
// thing that comes, with an event stream when something comes before it.
func (h *Handler) call(w http.ResponseWriter, r *http.Request, s *session.Session, access broker.Access, m mcp.Message) {
	c, err := s.Call(r.Context(), access, m)
	if err != nil {
		h.toolCall(r.Context(), s, access, m, outcomeOf(err))
		h.fail(w, m.ID(), err)
		return
	}
	a := &answer{handler: h, w: w, id: m.ID(), access: access}
	h.toolCall(r.Context(), s, access, m, a.run(r.Context(), c))
}

// toolCall audits a tools/call; other methods only read what the tools are.
func (h *Handler) toolCall(ctx context.Context, s *session.Session, access broker.Access, m mcp.Message, outcome string) {
	if m.Method != mcp.MethodToolsCall {
		return
	}
	h.cfg.Audit.Event(ctx, audit.Event{
		Kind: audit.ToolCall, User: access.User.Name, Client: access.Client, Session: s.Label(),
		Tool: m.ParamString("name"), Outcome: outcome, Failed: outcome != outcomeOK,
	})
}

// Outcomes of a tool call in the audit.
const (
	outcomeOK        = "ok"
	outcomeError     = "error"     // the tool or the backend says so
	outcomeLeft      = "left"      // the client closed its connection
	outcomeTimeout   = "timeout"   // no response in time
	outcomeCancelled = "cancelled" // the client cancelled it
	outcomeFailed    = "failed"    // the session could not carry it out
	// Besides control.ReasonReadOnly and control.ReasonDeniedPath.
)

func outcomeOf(err error) string {
	if reason := session.StartReason(err); reason != "" {
		return string(reason)
	}
	return outcomeFailed
}

// answer is the HTTP response to one request.
type answer struct {
	handler *Handler
	w       http.ResponseWriter
	id      []byte
	access  broker.Access
	stream  *mcp.EventStream // nil until something precedes the response
}

var (
	errQuiet   = errors.New("nothing to say yet")
	errTooLong = errors.New("no response in time")
)

// run writes what the call yields and returns the outcome for the audit.
func (a *answer) run(ctx context.Context, c *session.Call) string {
	deadline := time.Now().Add(a.handler.cfg.RequestTimeout)
	for {
		e, err := a.next(ctx, c, deadline)
		switch {
		case errors.Is(err, errQuiet):
			err = a.keepAlive()
		case err == nil && e.Final:
			return a.finish(e.Raw, c)
		case err == nil:
			deadline = time.Now().Add(a.handler.cfg.RequestTimeout)
			err = a.event(e.Raw)
		}
		if err != nil {
			return a.broken(ctx, c, err)
		}
	}
}

// next waits for an event no longer than a keep-alive interval.
func (a *answer) next(ctx context.Context, c *session.Call, deadline time.Time) (relay.Event, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errTooLong)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, a.handler.cfg.KeepAlive, errQuiet)
	defer stop()
	return c.Next(ctx)
}

func (a *answer) events() *mcp.EventStream {
	if a.stream == nil {
		a.stream = mcp.NewEventStream(a.w)
	}
	return a.stream
}

func (a *answer) keepAlive() error       { return a.events().KeepAlive() }
func (a *answer) event(raw []byte) error { return a.events().Message(raw) }

// finish sends the response; a nil one ends the exchange without.
func (a *answer) finish(raw []byte, c *session.Call) string {
	if raw == nil {
		a.events()
		return outcomeCancelled
	}
	if reason := c.Refusal(); reason != "" {
		a.refused(reason)
		return string(reason)
	}
	m, err := mcp.Parse(raw)
	failed := err != nil || m.IsError() || string(m.ResultField("isError")) == "true"
	if failed && c.GrantDead() && a.stream == nil {
		a.handler.cfg.Auth.Challenge(a.w, broker.ErrForgejoGrantDead)
		return outcomeError
	}
	a.send(raw)
	if failed {
		return outcomeError
	}
	return outcomeOK
}

func (a *answer) send(raw []byte) {
	if a.stream == nil {
		reply(a.w, http.StatusOK, raw)
		return
	}
	_ = a.stream.Message(raw)
}

// broken ends an exchange that will see no response from the backend.
func (a *answer) broken(ctx context.Context, c *session.Call, err error) string {
	switch {
	case ctx.Err() != nil:
		return outcomeLeft
	case errors.Is(err, errTooLong):
		a.send(mcp.ErrorResponse(a.id, mcp.CodeServerError, "the backend did not answer in time"))
		return outcomeTimeout
	case errors.Is(err, relay.ErrClosed):
		if fail := c.Failure(); fail != nil {
			err = fail
		}
		a.send(mcp.ErrorResponse(a.id, mcp.CodeInternalError, publicMessage(err)))
		return outcomeOf(err)
	}
	return outcomeLeft // writing failed
}
