// Package call carries one request of a client through a session: its deadline, what
// it yields, how it ends, its line in the audit, and the words in which a failure is
// told. The transports (packages streamable, stateless and httpsse) frame what it
// gives them.
package call

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/view"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp/rawjson"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Exchanges begins the exchanges of one broker, and words why one cannot begin. It is
// also what all transports work with. All fields but Calls are required.
type Exchanges struct {
	PublicURL *url.URL
	Sessions  *session.Manager
	Audit     *audit.Logger
	Log       *slog.Logger
	Lists     *view.Cache      // what clients see of what backends list
	Calls     *ratelimit.Users // what of kinds each user may do; nil for all
	Timeout   time.Duration    // for a response, counted from the last sign of life
	Draining  <-chan struct{}  // closed when streams that would never end shall end
}

// KeepAlive is the time between comments on a quiet stream.
const KeepAlive = 15 * time.Second

// Exchange is one request of a client on its way through a session.
type Exchange struct {
	of       *Exchanges
	session  *session.Session
	access   model.Access
	id       json.RawMessage // of the request, which itself is not kept
	method   string
	address  string        // where the request came from; "" of one that was resumed
	about    about         // for the audit
	began    time.Time     // when the request came
	result   int           // bytes of what the backend gave
	Call     *session.Call // that carries it; for what its backend asks
	release  func()        // of the event that Next gave last, nil if that was not large
	deadline time.Time     // for the next sign of life
	latest   time.Time     // for the response, whatever comes before it
}

// maxExtension is how many timeouts a request may take in all, however often
// progress extends the first (2025-03-26 and later, Lifecycle, Timeouts: "a maximum
// timeout regardless of progress").
const maxExtension = 10

func (xs *Exchanges) exchange(s *session.Session, access model.Access, id json.RawMessage, method string, began time.Time) *Exchange {
	x := &Exchange{of: xs, session: s, access: access, id: bytes.Clone(id), method: method, began: began}
	x.Renew(began)
	return x
}

// request is the exchange of a request that r brought.
func (xs *Exchanges) request(r *http.Request, s *session.Session, access model.Access, m mcp.Message) *Exchange {
	x := xs.exchange(s, access, m.ID(), m.Method, time.Now())
	x.about, x.address = newAbout(r.Header, m), audit.Address(r.Context())
	if view.Lists(m.Method) {
		x.about.Filter = view.For(r.Context(), access)
	}
	return x
}

// Refused audits a request for which Begin was not called, because of err.
func (xs *Exchanges) Refused(r *http.Request, s *session.Session, access model.Access, m mcp.Message, err error) {
	xs.request(r, s, access, m).audit(r.Context(), outcomeOf(err))
}

// Begin sends the request, which r brought, to the session. An error has been audited as
// far as it is to be, unless it is audit.ErrMute. The caller calls Done in the end. Errors
// are ErrTimeout, ErrNoMethod, audit.ErrMute, a Fault where the user calls too often, and
// those of Allow and of session.Session.Call.
func (xs *Exchanges) Begin(r *http.Request, s *session.Session, access model.Access, m mcp.Message) (*Exchange, error) {
	if m.Method == mcp.MethodListen && !s.Shared() {
		return nil, ErrNoMethod
	}
	if _, audited := kinds[m.Method]; audited {
		if err := xs.Audit.Admit(); err != nil {
			return nil, err
		}
		if err := xs.limit(r, s, access, m); err != nil {
			return nil, err
		}
	}
	if err := xs.Allow(r, s, access, m); err != nil {
		return nil, err
	}
	x := xs.request(r, s, access, m)
	ctx, cancel := context.WithDeadlineCause(r.Context(), x.deadline, ErrTimeout)
	defer cancel()
	c, err := s.Call(ctx, access, m)
	if err != nil {
		x.audit(ctx, outcomeOf(err))
		return nil, err
	}
	x.Call = c
	c.SetNote(&x.about)
	return x, nil
}

// Tell is session.Session.Tell, for as long as a request may take (ErrTimeout).
func (xs *Exchanges) Tell(ctx context.Context, s *session.Session, m mcp.Message) error {
	ctx, cancel := context.WithTimeoutCause(ctx, xs.Timeout, ErrTimeout)
	defer cancel()
	return s.Tell(ctx, m)
}

// ErrNoMethod: the session is of a revision that does not have the method.
var ErrNoMethod = errors.New("no such method")

// Errors of Next besides those of session.Call.Next.
var (
	// ErrQuiet: nothing came within the caller's patience.
	ErrQuiet = errors.New("nothing to say yet")
	// ErrTimeout: no response came in time.
	ErrTimeout = errors.New("no response in time")
)

// Next waits for what the call yields, at most for patience (ErrQuiet; 0 means
// no such bound) and until the deadline (ErrTimeout), which every sign of life
// moves, within maxExtension. subscriptions/listen lasts as long as its client
// likes: it has no deadline, and needs patience.
func (x *Exchange) Next(ctx context.Context, patience time.Duration) (relay.Event, error) {
	until, cause := x.deadline, ErrTimeout
	quiet, standing := time.Now().Add(patience), x.method == mcp.MethodListen
	if standing || patience > 0 && quiet.Before(until) {
		until, cause = quiet, ErrQuiet
	}
	ctx, cancel := context.WithDeadlineCause(ctx, until, cause)
	defer cancel()
	x.Done()
	e, err := x.Call.Next(ctx)
	if e.Final {
		x.result = e.Result
	}
	if len(e.Raw) >= large {
		x.release = x.Call.Hold(e)
	}
	if err == nil {
		x.deadline = time.Now().Add(x.of.Timeout)
		if x.deadline.After(x.latest) {
			x.deadline = x.latest
		}
	}
	return e, err
}

// Done says that what Next gave last has been written, or will not be. Until then
// it counts in what the backend may have waiting for clients.
func (x *Exchange) Done() {
	if x.release != nil {
		x.release()
		x.release = nil
	}
}

// large is how long a message is that is worth counting while it is written.
const large = 64 << 10

// End returns what to answer to what Next gave last, and audits the exchange; no
// answer when the client cancelled the request. An error is to be answered in its
// place, unless the answer has begun.
func (x *Exchange) End(ctx context.Context, e relay.Event, err error) (raw []byte, instead error) {
	raw, outcome := x.response(e, err)
	x.audit(ctx, outcome)
	switch {
	case x.mayAskForMore(outcome):
		return raw, model.ErrInsufficientScope
	case raw != nil && outcome != outcomeOK && x.Call.GrantDead():
		instead = model.ErrForgejoGrantDead
		return mcp.ErrorResponse(x.id, mcp.CodeServerError, Message(instead)), instead
	}
	return raw, nil
}

// Tell puts a message on a stream and waits for whoever follows it; that has to keep up,
// or it is cut off.
func Tell(l *eventstore.Log, raw []byte) { _ = l.Write(context.Background(), raw) }

// Carry writes what the exchange yields to l, one of the session's streams, up to
// its response, whether or not anybody follows. Who follows has to keep up, or is
// cut off. It reports whether the exchange is over: one that the broker's end cuts
// off is not, its call is resumed by the next process.
func (x *Exchange) Carry(l *eventstore.Log) (over bool) {
	defer x.session.Carry(x.Call, l)()
	defer x.Done()
	for {
		e, err := x.Next(context.Background(), 0)
		if err == nil && !e.Final {
			Tell(l, e.Raw)
			continue
		}
		if errors.Is(err, relay.ErrSuspended) {
			return false
		}
		if raw, _ := x.End(context.Background(), e, err); raw != nil {
			Tell(l, raw)
		}
		return true
	}
}

// Left ends an exchange whose client closed its connection before it had seen
// anything.
func (x *Exchange) Left(ctx context.Context) {
	x.Done()
	x.Call.Leave()
	x.audit(ctx, OutcomeLeft)
}

// Cancel ends an exchange whose answer nobody waits for any more, and tells the
// backend. The outcome is for the audit.
func (x *Exchange) Cancel(ctx context.Context, outcome Outcome) {
	x.Done()
	x.Call.Cancel(cancelReasons[outcome])
	x.audit(ctx, outcome)
}

// Renew gives the exchange its time anew as of from: after it has waited for its client.
func (x *Exchange) Renew(from time.Time) {
	x.deadline, x.latest = from.Add(x.of.Timeout), from.Add(maxExtension*x.of.Timeout)
}

// mayAskForMore reports whether the client itself asked for less than it wants to
// do. Where the user gave less, or the URL is one for reading, it would come back with as
// much.
func (x *Exchange) mayAskForMore(outcome Outcome) bool {
	asked := x.access.Requested
	return outcome == Outcome(control.ReasonReadOnly) && asked != "" && model.ReadOnly(asked) && !x.access.ViewReadOnly
}

// response is what to send at the end of a call and its outcome; nil when the
// client has cancelled it.
func (x *Exchange) response(e relay.Event, err error) ([]byte, Outcome) {
	switch {
	case err == nil && e.Raw == nil:
		return nil, OutcomeCancelled
	case err == nil && x.Call.Refusal().Reason != "":
		refused := x.Call.Refusal()
		x.about.Rule = refused.Rule
		return mcp.ToolError(x.id, x.of.refusalText(refused)), Outcome(refused.Reason)
	case err == nil:
		if e.Failed {
			return e.Raw, outcomeError
		}
		return x.shown(e), outcomeOK
	case errors.Is(err, relay.ErrSuspended):
		return mcp.ErrorResponse(x.id, mcp.CodeServerError, Message(err)), outcomeFailed
	case errors.Is(err, relay.ErrClosed):
		if fail := x.Call.Failure(); fail != nil {
			err = fail
		}
		return mcp.ErrorResponse(x.id, mcp.CodeInternalError, Message(err)), outcomeOf(err)
	}
	x.Call.Cancel("no response in time")
	return mcp.ErrorResponse(x.id, mcp.CodeServerError, Message(ErrTimeout)), outcomeTimeout
}

// shown is the response with what the client may see of what the backend lists.
func (x *Exchange) shown(e relay.Event) []byte {
	if x.about.Filter == nil || e.At == 0 {
		return e.Raw
	}
	at := rawjson.Span{From: e.At, To: e.At + e.Result}
	return rawjson.Splice(e.Raw, at, x.of.Lists.List(x.method, x.about.Filter, at.Of(e.Raw)))
}

// audit records a request of one of kinds; other methods only read what there is to use.
func (x *Exchange) audit(ctx context.Context, outcome Outcome) {
	kind, ok := kinds[x.method]
	if !ok {
		return
	}
	e := x.event()
	e.Kind, e.Outcome, e.Failed = kind, string(outcome), outcome != outcomeOK
	if x.Call != nil {
		touched := x.Call.Touched()
		e.ReposSeen, e.ReposPossible = touched.Sure, touched.Maybe
	}
	e.ResultBytes, e.DurationUsec = audit.Count(x.result), audit.Count(int(time.Since(x.began).Microseconds()))
	x.of.Audit.Event(ctx, e)
}

// event says who asks for what.
func (x *Exchange) event() audit.Event {
	return audit.Event{
		User: x.access.User.Name, UserID: x.access.User.Subject,
		Client: x.access.Client, ClientID: model.ShortID(x.access.ClientID), Address: x.address,
		ReadOnly: audit.YesNo(x.session.ReadOnly()), Session: x.session.Label(),
		Tool: x.about.Tool, Prompt: x.about.Prompt, Resource: x.about.Resource,
		Repo: x.about.Repo, Issue: x.about.Issue, Rule: x.about.Rule,
		ArgumentsBytes: audit.Count(x.about.Arguments), Trace: x.about.Trace,
	}
}

// Outcome is how a tool call ended, for the audit. The control.Reason of a refused request
// and the reasons of a session.StartError are outcomes as well.
type Outcome string

// Outcomes; the exported ones are those of Cancel.
const (
	outcomeOK      Outcome = "ok"
	outcomeError   Outcome = "error"   // the tool or the backend says so
	outcomeTimeout Outcome = "timeout" // no response in time
	outcomeFailed  Outcome = "failed"  // the session could not carry it out
	// outcomeRateLimited is counted, and not written.
	outcomeRateLimited Outcome = "rate_limited"

	OutcomeLeft       Outcome = "left"       // the client closed its connection
	OutcomeCancelled  Outcome = "cancelled"  // the client cancelled it
	OutcomeIncapable  Outcome = "incapable"  // the client cannot do what the backend asks for
	OutcomeUnanswered Outcome = "unanswered" // the client did not come back with what the backend asks for
)

var cancelReasons = map[Outcome]string{
	OutcomeLeft:       "the client closed its connection",
	OutcomeCancelled:  "the client closed the response",
	OutcomeIncapable:  "the client is not capable of what is asked for",
	OutcomeUnanswered: "the client did not answer in time",
}

func outcomeOf(err error) Outcome {
	if reason := session.StartReason(err); reason != "" {
		return Outcome(reason)
	}
	if errors.Is(err, ErrTimeout) {
		return outcomeTimeout
	}
	return outcomeFailed
}

// Resume continues with the calls that the process before began in a session: what
// comes of them goes to the streams it went to then, where clients come back for
// it. A call without a stream is left alone, since its client cannot.
func (xs *Exchanges) Resume(s *session.Session, calls []*session.Call) {
	carried := map[*eventstore.Log][]*Exchange{}
	for _, c := range calls {
		l := s.Carried(c)
		if l == nil {
			c.Leave()
			continue
		}
		carried[l] = append(carried[l], xs.resume(s, c))
	}
	for l, all := range carried {
		go func() {
			if CarryAll(l, all) && l != s.Streams().Own() {
				l.Close()
			}
		}()
	}
}

// CarryAll carries several exchanges to one stream, and reports whether all are
// over.
func CarryAll(l *eventstore.Log, all []*Exchange) (over bool) {
	var carried sync.WaitGroup
	ends := make([]bool, len(all))
	for i, x := range all {
		carried.Go(func() { ends[i] = x.Carry(l) })
	}
	carried.Wait()
	return !slices.Contains(ends, false)
}

func (xs *Exchanges) resume(s *session.Session, c *session.Call) *Exchange {
	x := xs.exchange(s, s.Access(), c.ClientID, c.Method, c.Began)
	x.Call = c
	x.about.Tool = c.Tool
	_ = json.Unmarshal(c.Note(), &x.about) // a broker from before there were notes left none
	c.SetNote(&x.about)
	x.deadline = time.Now().Add(xs.Timeout)
	return x
}
