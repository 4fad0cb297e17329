package stateless

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
)

// request is one request on its way to its answer.
type request struct {
	h      *Handler
	r      *http.Request
	access model.Access
	mcp.Message

	modern  bool // it is of 2026-07-28, and meta is set
	meta    mcp.Meta
	session *session.Session
	server  session.Server
	streams bool // the answer has become a stream

	filter subscription.Filter // what a listener asks a modern backend for
	acked  bool                // and whether it was told what it gets of that

	asked   []question // what the backend wants of the client, oldest first
	askedAt time.Time  // the oldest
}

// serveModern answers a request of 2026-07-28.
func (q *request) serveModern() (answer call.Answer, err error) {
	if q.meta, err = check(q.r.Header, q.Message); err != nil {
		return answer, err
	}
	q.modern = true
	switch p, err := q.retried(); {
	case err != nil:
		return answer, err
	case p != nil:
		return q.resume(p)
	}
	if err := q.findSession(); err != nil {
		return answer, err
	}
	if err := q.checkParams(q.session); err != nil {
		return answer, err
	}
	switch {
	case q.server.Modern && q.Method == mcp.MethodListen:
		return q.passListen()
	case q.server.Modern:
		return q.call(q.Message)
	case q.Method == mcp.MethodDiscover:
		return call.Answer{Raw: discovered(q.ID(), q.server)}, nil
	case q.Method == mcp.MethodListen:
		return q.listen()
	case !slices.Contains(methods, q.Method):
		return answer, notFound(q.Method)
	case q.isRetry():
		return answer, invalid(errState)
	}
	q.askToLog()
	return q.call(q.Message)
}

// serveLegacy answers a request of a revision with a handshake whose client has
// not initialized, as ChatGPT does.
func (q *request) serveLegacy() (call.Answer, error) {
	switch {
	case q.Method == mcp.MethodPing:
		return call.Answer{Raw: mcp.EmptyResult(q.ID())}, nil
	case !slices.Contains(methods, q.Method):
		return call.Answer{}, call.NewFault(http.StatusBadRequest, mcp.CodeInvalidRequest, mcp.HeaderSessionID+" header is missing; send initialize first")
	}
	if err := q.findSession(); err != nil {
		return call.Answer{}, err
	}
	if q.server.Modern {
		return q.call(raised(q.Message))
	}
	return q.call(q.Message)
}

// checkParams holds the headers of a tools/call against its arguments, as far as the
// session's tools want it. Who calls a tool that is hidden cannot know, and is told that.
func (q *request) checkParams(s *session.Session) error {
	if call.Hides(q.r, q.access, q.Message) {
		return nil
	}
	if err := checkParamHeaders(q.r.Header, q.Message, q.h.tools.Of(s, q.Message)); err != nil {
		return mismatch(err)
	}
	return nil
}

// findSession finds the session that serves the request, and what its backend is.
func (q *request) findSession() error {
	for attempt := 0; ; attempt++ {
		s, err := q.h.Sessions.Shared(q.r.Context(), q.access)
		if err != nil {
			return err
		}
		q.session = s
		q.server, err = s.Server(q.r.Context(), q.access)
		if attempt == 0 && errors.Is(err, model.ErrNotFound) { // it has ended under us
			continue
		}
		if err != nil {
			q.h.Refused(q.r, s, q.access, q.Message, err)
		}
		return err
	}
}

// askToLog has the backend say what the client wants to hear of.
func (q *request) askToLog() {
	if q.meta.LogLevel == "" {
		return
	}
	if err := q.session.LogFrom(q.r.Context(), q.meta.LogLevel); err != nil {
		q.h.Log.Debug("the backend does not log as asked", "error", err)
	}
}

// call carries m, which is the request as the backend gets it, to its answer.
func (q *request) call(m mcp.Message) (call.Answer, error) {
	x, err := q.h.Begin(q.r, q.session, q.access, m)
	if err != nil {
		return call.Answer{}, err
	}
	return q.carry(q.r.Context(), x)
}

// last is how an answer ends.
type last struct {
	answer call.Answer
	err    error
}

// stream answers with event and what next yields until its last, of which a nil event is
// a keep-alive. left is called when the client stops to read. It cannot be resumed.
func (q *request) stream(event []byte, next func() (event []byte, end *last), left func()) call.Answer {
	return call.Answer{Stream: func(out *mcp.EventStream) (call.Answer, error) {
		q.streams = true
		for {
			if tell(out, event) != nil {
				left()
				return call.Answer{}, nil
			}
			var end *last
			if event, end = next(); end != nil {
				return end.answer, end.err
			}
		}
	}}
}

func tell(out *mcp.EventStream, event []byte) error {
	if event == nil {
		return out.KeepAlive()
	}
	return out.Message("", event)
}

// carry passes on what the exchange yields until it ends, the client leaves, or ctx ends:
// its end alone, or a stream where something comes before that.
func (q *request) carry(ctx context.Context, x *call.Exchange) (call.Answer, error) {
	event, end := q.next(ctx, x)
	if end != nil {
		return end.answer, end.err
	}
	return q.stream(event, func() ([]byte, *last) { return q.next(ctx, x) }, func() { q.left(x) }), nil
}

// next waits for what the client is told next.
func (q *request) next(ctx context.Context, x *call.Exchange) ([]byte, *last) {
	for {
		if len(q.asked) > 0 && time.Since(q.askedAt) >= gatherAll {
			if raw := q.park(x); raw != nil {
				return nil, &last{answer: call.Answer{Raw: raw}}
			}
		}
		e, err := x.Next(ctx, q.patience())
		switch {
		case q.r.Context().Err() != nil:
			q.left(x)
			return nil, &last{err: q.r.Context().Err()}
		case errors.Is(err, call.ErrQuiet) && len(q.asked) > 0:
			q.askedAt = time.Time{} // enough
			continue
		case errors.Is(err, call.ErrQuiet):
			return nil, nil
		case q.Method == mcp.MethodListen && (err != nil || e.Final && e.Raw == nil): // the broker ends, or the backend has
			x.Cancel(ctx, call.OutcomeCancelled)
			return nil, q.closed()
		case err != nil || e.Final:
			if q.Method == mcp.MethodToolsList && e.At > 0 { // all that there are, whatever is shown
				q.h.tools.Remember(q.session, q.session.Done(), q.Message, e.Raw[e.At:e.At+e.Result])
			}
			end := q.end(x.End(ctx, e, err))
			end.answer.Done = x.Done
			return nil, end
		}
		raw, err := q.event(x, e)
		if err != nil {
			return nil, &last{err: err}
		}
		if raw != nil {
			return raw, nil
		}
	}
}

// patience is how long the backend may say nothing.
func (q *request) patience() time.Duration {
	if len(q.asked) > 0 {
		return relay.Gather
	}
	return call.KeepAlive
}

// left gives up the exchange of a client that has gone. Only 2026-07-28 says that
// this cancels a call; in older revisions it continues, though nobody can come back
// for its answer.
func (q *request) left(x *call.Exchange) {
	switch {
	case !q.modern:
		x.Left(q.r.Context())
	case !q.streams:
		x.Cancel(q.r.Context(), call.OutcomeLeft)
	default:
		x.Cancel(q.r.Context(), call.OutcomeCancelled)
	}
}

// end makes the answer of what call.Exchange.End returns.
func (q *request) end(raw []byte, instead error) *last {
	if instead != nil && !q.streams {
		return &last{err: instead}
	}
	m, err := mcp.Parse(raw)
	if err != nil { // nothing to answer
		return &last{answer: call.Silence()}
	}
	if q.Method == mcp.MethodDiscover && q.server.Modern {
		m = m.WithResultField(mcp.TellsOfLists(m.ResultField("capabilities")), "capabilities")
	}
	if asks, err := q.openURLs(m); asks != nil || err != nil {
		return &last{call.Answer{Raw: asks}, err}
	}
	return &last{answer: call.Answer{Status: q.status(m.ErrorCode()), Raw: q.translated(m)}}
}

// status is what HTTP says to a response with an error code, or with none.
func (q *request) status(code int) int {
	switch {
	case !q.modern:
		return http.StatusOK
	case code == mcp.CodeMethodNotFound:
		return http.StatusNotFound
	case code == mcp.CodeHeaderMismatch, code == mcp.CodeMissingCapability, code == mcp.CodeUnsupportedVersion:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// event takes what the backend says during the call, and returns what the client is
// told of it. An error has ended the exchange.
func (q *request) event(x *call.Exchange, e relay.Event) ([]byte, error) {
	m, err := mcp.Parse(e.Raw)
	switch {
	case err != nil:
		return nil, nil
	case e.Question != "":
		return nil, q.ask(x, question{e.Question, m})
	case m.Method == mcp.MethodCancelled:
		q.asked = slices.DeleteFunc(q.asked, func(o question) bool { return o.key == m.ParamString("requestId") })
		return nil, nil
	case q.Method == mcp.MethodListen:
		return q.listened(m), nil
	case !q.wants(m):
		return nil, nil
	}
	if m.Method == mcp.MethodProgress { // of a call that an earlier request may have begun
		m = m.WithParam(q.Param("_meta", "progressToken"), "progressToken")
	}
	return m.Raw, nil
}

// wants reports whether the client is told of a notification.
func (q *request) wants(m mcp.Message) bool {
	switch {
	case m.Method == mcp.MethodProgress:
		return q.Param("_meta", "progressToken") != nil
	case m.Method == mcp.MethodLog:
		return q.meta.LogLevel != "" && mcp.Severe(m.ParamString("level"), q.meta.LogLevel)
	}
	return q.modern && q.server.Modern
}
