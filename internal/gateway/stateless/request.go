package stateless

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// request is one request on its way to its answer.
type request struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	access model.Access
	mcp.Message

	modern  bool // it is of 2026-07-28, and meta is set
	meta    mcp.Meta
	session *session.Session
	server  session.Server
	out     *mcp.EventStream // nil until the answer has become a stream

	asked   []question // what the backend wants of the client, oldest first
	askedAt time.Time  // the oldest
}

// serveModern answers a request of 2026-07-28.
func (q *request) serveModern() {
	var bad *fault
	if q.meta, bad = check(q.r.Header, q.Message); bad != nil {
		q.refuse(bad)
		return
	}
	q.modern = true
	if q.retried() {
		return
	}
	if err := q.open(); err != nil {
		q.h.cfg.Exchanges.Fail(q.w, q.ID(), err)
		return
	}
	if err := checkParamHeaders(q.r.Header, q.Message, q.h.tools.Of(q.session, q.Message)); err != nil {
		q.refuse(mismatch(err))
		return
	}
	switch {
	case q.server.Modern && q.Method == mcp.MethodListen:
		q.passListen()
	case q.server.Modern:
		q.call(q.Message)
	case q.Method == mcp.MethodDiscover:
		q.reply(http.StatusOK, discovered(q.ID(), q.server))
	case q.Method == mcp.MethodListen:
		q.listen()
	case !slices.Contains(methods, q.Method):
		q.refuse(notFound(q.Method))
	case q.isRetry():
		q.refuse(invalid(errState))
	default:
		q.askToLog()
		q.call(q.Message)
	}
}

// serveLegacy answers a request of a revision with a handshake whose client has
// not initialized, as ChatGPT does.
func (q *request) serveLegacy() {
	switch {
	case q.Method == mcp.MethodPing:
		q.reply(http.StatusOK, mcp.ResultResponse(q.ID(), []byte("{}")))
		return
	case !slices.Contains(methods, q.Method):
		q.refuse(&fault{http.StatusBadRequest, mcp.CodeInvalidRequest, mcp.HeaderSessionID + " header is missing; send initialize first", nil})
		return
	}
	if err := q.open(); err != nil {
		q.h.cfg.Exchanges.Fail(q.w, q.ID(), err)
		return
	}
	if q.server.Modern {
		q.call(raised(q.Message))
		return
	}
	q.call(q.Message)
}

// open finds the session that serves the request, and what its backend is.
func (q *request) open() error {
	for attempt := 0; ; attempt++ {
		s, err := q.h.cfg.Sessions.Shared(q.r.Context(), q.access)
		if err != nil {
			return err
		}
		q.session = s
		q.server, err = s.Server(q.r.Context(), q.access)
		if attempt > 0 || !errors.Is(err, model.ErrNotFound) { // it has ended under us
			return err
		}
	}
}

// askToLog has the backend say what the client wants to hear of.
func (q *request) askToLog() {
	if q.meta.LogLevel == "" {
		return
	}
	if err := q.session.LogFrom(q.r.Context(), q.meta.LogLevel); err != nil {
		q.h.cfg.Log.Debug("the backend does not log as asked", "error", err)
	}
}

// call carries m, which is the request as the backend gets it, to its answer.
func (q *request) call(m mcp.Message) {
	if x := q.begin(m); x != nil {
		q.carry(x)
	}
}

// begin returns nil when the client has been told why it cannot.
func (q *request) begin(m mcp.Message) *call.Exchange {
	x, err := q.h.cfg.Exchanges.Begin(q.r.Context(), q.session, q.access, m)
	if err != nil {
		q.h.cfg.Exchanges.Fail(q.w, q.ID(), err)
		return nil
	}
	return x
}

// carry passes on what the exchange yields until it ends or the client leaves.
func (q *request) carry(x *call.Exchange) {
	defer x.Done()
	ctx := q.r.Context()
	for {
		if q.askedEnough() && q.park(x) {
			return
		}
		e, err := x.Next(ctx, q.patience())
		switch {
		case ctx.Err() != nil:
			q.left(x)
			return
		case errors.Is(err, call.ErrQuiet) && len(q.asked) > 0:
			q.askedAt = time.Time{} // enough
			continue
		case errors.Is(err, call.ErrQuiet):
			err = q.stream().KeepAlive()
		case err == nil && !e.Final:
			err = q.event(x, e)
		default:
			q.end(x.End(ctx, e, err))
			return
		}
		switch {
		case errors.Is(err, errAnswered):
			return
		case err != nil: // it does not read any more
			q.left(x)
			return
		}
	}
}

// askedEnough reports whether what the backend has asked is to be handed out.
func (q *request) askedEnough() bool {
	return len(q.asked) > 0 && time.Since(q.askedAt) >= gatherAll
}

// patience is how long the backend may say nothing.
func (q *request) patience() time.Duration {
	if len(q.asked) > 0 {
		return gather
	}
	return q.h.cfg.KeepAlive
}

// left gives up the exchange of a client that has gone. Only 2026-07-28 says that
// this cancels a call; in older revisions it goes on, though nobody can come back
// for its answer.
func (q *request) left(x *call.Exchange) {
	switch {
	case !q.modern:
		x.Left(q.r.Context())
	case q.out == nil:
		x.Cancel(q.r.Context(), call.OutcomeLeft)
	default:
		x.Cancel(q.r.Context(), call.OutcomeCancelled)
	}
}

// end sends the response.
func (q *request) end(end call.End) {
	if end.Challenge != nil && q.out == nil {
		q.h.cfg.Exchanges.Fail(q.w, nil, end.Challenge)
		return
	}
	m, err := mcp.Parse(end.Raw)
	if err != nil { // nothing to answer
		q.stream()
		return
	}
	if q.Method == mcp.MethodToolsList {
		q.h.tools.Remember(q.session, q.session.Done(), q.Message, m)
	}
	if q.openURLs(m) {
		return
	}
	q.reply(q.status(m.ErrorCode()), q.translated(m))
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

// refuse answers with an error of our own.
func (q *request) refuse(f *fault) {
	q.reply(f.status, mcp.ErrorResponseWith(q.ID(), f.code, f.message, f.data))
}

// reply sends the response: the whole answer, or the last event of its stream.
func (q *request) reply(status int, raw []byte) {
	if q.out == nil {
		call.Reply(q.w, status, raw)
		return
	}
	_ = q.out.Message("", raw) // who does not read it has left
}

// stream turns the answer into a stream, which cannot be resumed.
func (q *request) stream() *mcp.EventStream {
	if q.out == nil {
		q.out = mcp.NewEventStream(q.w)
	}
	return q.out
}

// event takes what the backend says during the call.
func (q *request) event(x *call.Exchange, e relay.Event) error {
	m, err := mcp.Parse(e.Raw)
	switch {
	case err != nil:
		return nil
	case e.Question != "":
		return q.ask(x, question{e.Question, m})
	case m.Method == mcp.MethodCancelled:
		q.withdrawn(m.ParamString("requestId"))
		return nil
	case !q.wants(m):
		return nil
	}
	if m.Method == mcp.MethodProgress { // of a call that an earlier request may have begun
		m = m.WithParam(q.Param("_meta", "progressToken"), "progressToken")
	}
	return q.stream().Message("", m.Raw)
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
