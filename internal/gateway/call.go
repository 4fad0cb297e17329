package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/audit"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/stream"
)

// exchange is one request of a client on its way through a session.
type exchange struct {
	handler  *Handler
	session  *session.Session
	access   broker.Access
	request  mcp.Message
	call     *session.Call
	deadline time.Time
}

// begin sends the request to the session. An error has been audited.
func (h *Handler) begin(ctx context.Context, s *session.Session, access broker.Access, m mcp.Message) (*exchange, error) {
	x := &exchange{handler: h, session: s, access: access, request: m, deadline: time.Now().Add(h.cfg.RequestTimeout)}
	c, err := s.Call(ctx, access, m)
	if err != nil {
		x.audit(ctx, outcomeOf(err))
		return nil, err
	}
	x.call = c
	return x, nil
}

// call relays one request and answers with JSON when the response is the first
// thing that comes, with an event stream when something comes before it.
func (h *Handler) call(w http.ResponseWriter, r *http.Request, s *session.Session, access broker.Access, m mcp.Message) {
	x, err := h.begin(r.Context(), s, access, m)
	if err != nil {
		h.fail(w, m.ID(), err)
		return
	}
	e, err := x.next(r.Context(), h.cfg.KeepAlive)
	switch {
	case r.Context().Err() != nil: // the client has seen nothing that it could come back to
		x.audit(r.Context(), outcomeLeft)
	case errors.Is(err, errQuiet):
		h.stream(w, r, s, func(l *stream.Log) { x.carry(l) })
	case err == nil && !e.Final:
		h.stream(w, r, s, func(l *stream.Log) { l.Append(e.Raw); x.carry(l) })
	default:
		x.answer(w, r, e, err)
	}
}

// answer writes the response as JSON.
func (x *exchange) answer(w http.ResponseWriter, r *http.Request, e relay.Event, err error) {
	raw, outcome := x.response(e, err)
	x.audit(r.Context(), outcome)
	switch {
	case x.mayAskForMore(outcome):
		x.handler.cfg.Auth.Challenge(w, broker.ErrInsufficientScope)
	case raw == nil: // cancelled: an exchange without a response
		mcp.NewEventStream(w)
	case outcome != outcomeOK && x.call.GrantDead():
		x.handler.cfg.Auth.Challenge(w, broker.ErrForgejoGrantDead)
	default:
		reply(w, http.StatusOK, raw)
	}
}

// mayAskForMore reports whether the client itself asked for less than it wants to
// do. Where the user gave less, it would come back with as much.
func (x *exchange) mayAskForMore(outcome string) bool {
	asked := x.access.Requested
	return outcome == string(control.ReasonReadOnly) && asked != "" && oauth.ReadOnly(asked)
}

// carry appends what the call yields to l, up to its response, whether or not
// anybody follows.
func (x *exchange) carry(l *stream.Log) {
	for {
		e, err := x.next(context.Background(), 0)
		if err == nil && !e.Final {
			l.Append(e.Raw)
			continue
		}
		raw, outcome := x.response(e, err)
		x.audit(context.Background(), outcome)
		if raw != nil {
			l.Append(raw)
		}
		return
	}
}

var (
	errQuiet   = errors.New("nothing to say yet")
	errTooLong = errors.New("no response in time")
)

// next waits for what the call yields, at most for patience (errQuiet; 0 means
// no such bound) and until the deadline (errTooLong), which every sign of life
// moves.
func (x *exchange) next(ctx context.Context, patience time.Duration) (relay.Event, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, x.deadline, errTooLong)
	defer cancel()
	if patience > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, patience, errQuiet)
		defer stop()
	}
	e, err := x.call.Next(ctx)
	if err == nil {
		x.deadline = time.Now().Add(x.handler.cfg.RequestTimeout)
	}
	return e, err
}

// response is what to send at the end of a call and its outcome; nil when the
// client has cancelled it.
func (x *exchange) response(e relay.Event, err error) ([]byte, string) {
	id := x.request.ID()
	switch {
	case err == nil && e.Raw == nil:
		return nil, outcomeCancelled
	case err == nil && x.call.Refusal() != "":
		return mcp.ToolError(id, x.handler.refusalText(x.call.Refusal())), string(x.call.Refusal())
	case err == nil:
		m, err := mcp.Parse(e.Raw)
		if err != nil || m.IsError() || string(m.ResultField("isError")) == "true" {
			return e.Raw, outcomeError
		}
		return e.Raw, outcomeOK
	case errors.Is(err, relay.ErrClosed):
		if fail := x.call.Failure(); fail != nil {
			err = fail
		}
		return mcp.ErrorResponse(id, mcp.CodeInternalError, publicMessage(err)), outcomeOf(err)
	}
	return mcp.ErrorResponse(id, mcp.CodeServerError, "the backend did not answer in time"), outcomeTimeout
}

// audit records a tools/call; other methods only read what the tools are.
func (x *exchange) audit(ctx context.Context, outcome string) {
	if x.request.Method != mcp.MethodToolsCall {
		return
	}
	x.handler.cfg.Audit.Event(ctx, audit.Event{
		Kind: audit.ToolCall, User: x.access.User.Name, Client: x.access.Client, Session: x.session.Label(),
		Tool: x.request.ParamString("name"), Outcome: outcome, Failed: outcome != outcomeOK,
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

// batch relays the messages of one JSON array (2025-03-26): each request's
// response goes to one common stream.
func (h *Handler) batch(w http.ResponseWriter, r *http.Request, s *session.Session, access broker.Access, all []mcp.Message) {
	var calls []*exchange
	var failed [][]byte
	for _, m := range all {
		if m.Kind != mcp.Request {
			if err := h.oneWay(r.Context(), s, m); err != nil {
				h.cfg.Log.Debug("dropped a message of a batch", "error", err)
			}
			continue
		}
		x, err := h.begin(r.Context(), s, access, m)
		if err != nil {
			failed = append(failed, mcp.ErrorResponse(m.ID(), mcp.CodeInternalError, publicMessage(err)))
			continue
		}
		calls = append(calls, x)
	}
	if len(calls)+len(failed) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	h.stream(w, r, s, func(l *stream.Log) {
		for _, raw := range failed {
			l.Append(raw)
		}
		var carried sync.WaitGroup
		for _, x := range calls {
			carried.Go(func() { x.carry(l) })
		}
		carried.Wait()
	})
}
