// Package gateway is the front of the MCP resource server: every request is
// authenticated by its bearer token before anything else is looked at, then
// handed to the transport it speaks.
//
//	path ─▶ bearer ─▶ origin ─▶ view ─▶ method ─▶ body ─▶ streamable (a session's)
//	                                                     ├▶ stateless (nobody's)
//	                                                     └▶ httpsse
//
// The path, which package endpoint reads, and two headers say how much the client wants to
// see. That it wants to read only is held like a login that may do no more.
package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/httpsse"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/stateless"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/streamable"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/view"
	"github.com/fjmcp/fjmcp-broker/internal/proto/endpoint"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Authenticator checks bearer tokens and says how to challenge those without one; see
// authserver.Server.
type Authenticator interface {
	Authenticate(*http.Request, endpoint.Path) (model.Access, error)
	Challenge(endpoint.Path, error) (status int, header string, body *oauth.Error)
}

// Config is what a Handler is made of.
type Config struct {
	PublicURL *url.URL
	Auth      Authenticator
	Sessions  *session.Manager
	Rights    *rights.Rights // nil for no policy
	Keys      *seal.Keyring  // for what clients keep for us
	Audit     *audit.Logger
	Log       *slog.Logger

	// FailedBearers, if set, limits requests whose access token is no good.
	FailedBearers *ratelimit.Limiter

	// Calls, if set, limits calls of tools, and reads of resources and prompts.
	Calls *ratelimit.Users

	// AllowedOrigins lists origins, such as https://app.example.org or
	// app://obsidian.md, that may use the endpoint besides our own and loopback ones.
	AllowedOrigins []string

	RequestTimeout time.Duration // for a response, counted from the last progress
}

// Handler serves the MCP endpoints.
type Handler struct {
	cfg        Config
	origins    []string // our own and the allowed ones
	bodies     *bodies
	exchanges  *call.Exchanges
	streamable *streamable.Handler
	httpsse    *httpsse.Handler
	stateless  *stateless.Handler
	refused    refusals

	draining chan struct{}
	drain    sync.Once
}

// New returns the handler of the MCP endpoints.
func New(cfg Config) *Handler {
	own := cfg.PublicURL.Scheme + "://" + cfg.PublicURL.Host
	draining := make(chan struct{})
	exchanges := &call.Exchanges{
		PublicURL: cfg.PublicURL, Sessions: cfg.Sessions, Audit: cfg.Audit, Log: cfg.Log,
		Lists: view.NewCache(), Calls: cfg.Calls, Timeout: cfg.RequestTimeout, Draining: draining,
	}
	return &Handler{
		cfg: cfg, origins: append([]string{own}, cfg.AllowedOrigins...), bodies: newBodies(mcp.MaxBody),
		exchanges: exchanges, draining: draining,
		streamable: &streamable.Handler{Exchanges: exchanges},
		stateless:  stateless.New(exchanges, cfg.Keys),
		httpsse:    httpsse.New(exchanges),
		refused:    refusals{audit: cfg.Audit, told: map[string]time.Time{}},
	}
}

// Drain ends the streams that would never end by themselves; their clients come
// back and resume. Responses under way continue.
func (h *Handler) Drain() { h.drain.Do(func() { close(h.draining) }) }

// Resume continues with the calls of a restored session, see session.Manager.Restore.
func (h *Handler) Resume(s *session.Session, calls []*session.Call) { h.exchanges.Resume(s, calls) }

// Routes registers the endpoints, below the public URL's path.
func (h *Handler) Routes(mux *http.ServeMux) {
	handle := func(pattern string, serve func(*request) (call.Answer, error)) {
		mux.HandleFunc(h.cfg.PublicURL.Path+pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, mcp.MaxBody)
			q := &request{Request: r}
			defer q.release()
			h.cors(w, r)
			answer, err := h.guard(q, serve)
			h.write(w, q, answer, err)
		})
	}
	for _, pattern := range endpoint.Patterns {
		serve := h.serveStreamable
		if pattern == mcp.PathSSE {
			serve = h.serveEvents
		}
		handle(pattern, serve)
		handle(pattern+"/{$}", serve) // people type it so
	}
	handle(mcp.PathMessages, h.serveMessages)
	handle(mcp.PathStreamable+"/", h.serveStreamable) // of these all are unknown, which guard says
}

// request is one request on its way to its answer.
type request struct {
	*http.Request
	at     endpoint.Path // that it came to
	access model.Access
	id     json.RawMessage // of the JSON-RPC request in it, nil while there is none
	held   *body           // what it holds in memory, nil for nothing
}

func (q *request) release() {
	if q.held != nil {
		q.held.Close()
	}
}

func refuse(status int, text string) *call.Fault {
	return call.NewFault(status, mcp.CodeInvalidRequest, text)
}

// guard lets only authenticated requests of allowed origins through.
func (h *Handler) guard(q *request, serve func(*request) (call.Answer, error)) (call.Answer, error) {
	if q.Method == http.MethodOptions {
		return call.Answer{Status: http.StatusNoContent}, nil
	}
	err := httpserver.CheckHeaders(q.Request)
	if err != nil {
		return call.Answer{}, refuse(http.StatusBadRequest, err.Error())
	}
	if q.at, err = h.endpoint(q.Request); err != nil { // for nobody there is anything to log in to
		return call.Answer{}, refuse(http.StatusNotFound, err.Error())
	}
	if q.access, err = h.cfg.Auth.Authenticate(q.Request, q.at); err != nil {
		return call.Answer{}, h.unauthenticated(q.Request, err)
	}
	if !h.originAllowed(q.Header.Get("Origin")) {
		return call.Answer{}, refuse(http.StatusForbidden, "this Origin may not use the endpoint")
	}
	if err := h.cfg.Rights.Limit(q.Context(), &q.access); err != nil {
		return call.Answer{}, h.unauthenticated(q.Request, err)
	}
	if v := q.access.Limits.Connect(); !v.Allowed {
		h.refused.tell(q.Context(), q.access, v.Rule)
		return call.Answer{}, refuse(http.StatusForbidden, mayNothing(v.Rule))
	}
	if err := q.narrow(); err != nil {
		return call.Answer{}, refuse(http.StatusBadRequest, err.Error())
	}
	return serve(q)
}

// mayNothing tells a user whom the policy lets do nothing at all. rule is "" where none
// grants anything.
func mayNothing(rule string) string {
	if rule != "" {
		return "the rule '" + rule + "' of this server does not let your account do anything; ask its operator"
	}
	return "no rule of this server lets your account do anything; ask its operator"
}

// endpoint is where a request came to. Messages are posted for the event stream's.
func (h *Handler) endpoint(r *http.Request) (endpoint.Path, error) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), h.cfg.PublicURL.EscapedPath())
	if path == mcp.PathMessages {
		path = mcp.PathSSE
	}
	return endpoint.Parse(path)
}

// unauthenticated says why a request without a good token is refused. One that came
// with a bad token counts, since clients that have gone wrong repeat it; good tokens
// and requests without one are never limited.
func (h *Handler) unauthenticated(r *http.Request, err error) error {
	if errors.Is(err, model.ErrForgejoDown) {
		return err
	}
	if badToken(err) {
		if wait := h.cfg.FailedBearers.Take(r, r.Header.Get("Authorization")); wait > 0 {
			f := call.NewFault(http.StatusTooManyRequests, mcp.CodeServerError, "too many requests with an access token that is not valid; log in again")
			f.RetryAfter = wait
			return f
		}
	}
	return unauthenticated{err}
}

func badToken(err error) bool {
	return errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrExpired) ||
		errors.Is(err, model.ErrRevoked) || errors.Is(err, model.ErrForgejoGrantDead)
}

func (h *Handler) serveStreamable(q *request) (call.Answer, error) {
	switch q.Method {
	case http.MethodPost:
		return h.post(q)
	case http.MethodGet:
		return h.streamable.Listen(q.Request, q.access)
	case http.MethodDelete:
		return h.streamable.Delete(q.Request, q.access)
	}
	return methodNotAllowed("GET, POST, DELETE, OPTIONS", "use GET, POST or DELETE")
}

// serveEvents refuses POST, upon which clients that try Streamable HTTP first fall
// back to this transport.
func (h *Handler) serveEvents(q *request) (call.Answer, error) {
	if q.Method != http.MethodGet {
		return methodNotAllowed("GET, OPTIONS", "GET opens the event stream; post where its first event says")
	}
	return h.httpsse.Listen(q.Request, q.access)
}

func (h *Handler) serveMessages(q *request) (call.Answer, error) {
	if q.Method != http.MethodPost {
		return methodNotAllowed("POST, OPTIONS", "POST messages here; the event stream is at "+mcp.PathSSE)
	}
	body, err := h.body(q)
	if err != nil {
		return call.Answer{}, err
	}
	m, err := q.message(body) // not of a batch, which this revision does not have
	if err != nil {
		return call.Answer{}, err
	}
	return h.httpsse.Post(q.Request, q.access, m)
}

func methodNotAllowed(allow, hint string) (call.Answer, error) {
	f := refuse(http.StatusMethodNotAllowed, hint)
	f.Allow = allow
	return call.Answer{}, f
}

// post takes one message of a client, or a batch of them.
func (h *Handler) post(q *request) (call.Answer, error) {
	if !mcp.Accepts(q.Header, mcp.TypeJSON, mcp.TypeEventStream) {
		return call.Answer{}, refuse(http.StatusNotAcceptable, "Accept must allow application/json or text/event-stream")
	}
	body, err := h.body(q)
	if err != nil {
		return call.Answer{}, err
	}
	if mcp.IsBatch(body) {
		return h.streamable.Batch(q.Request, q.access, body)
	}
	m, err := q.message(body)
	version := q.Header.Get(mcp.HeaderProtocolVersion)
	switch {
	case err != nil:
		return call.Answer{}, err
	case sessionless(q.Request, m):
		return h.stateless.Post(q.Request, q.access, m)
	case version != "" && !mcp.KnownVersion(version) && m.Method != mcp.MethodInitialize:
		return call.Answer{}, refuse(http.StatusBadRequest, "unknown "+mcp.HeaderProtocolVersion+"; supported are "+strings.Join(mcp.Supported, ", "))
	}
	return h.streamable.Post(q.Request, q.access, m)
}

// message reads the one message of a body.
func (q *request) message(body []byte) (mcp.Message, error) {
	m, err := mcp.Parse(body)
	if err == nil && m.Kind == mcp.Request {
		q.id = m.ID()
	}
	return m, err
}

// sessionless reports whether a message is none of a session's: it is of a revision
// that has none, or names none and does not begin one. A header alone does not
// tell: clients of two generations send 2026-07-28 within a session of an older
// revision, and Mcp-Method with it.
func sessionless(r *http.Request, m mcp.Message) bool {
	return mcp.Stateless(m.ParamString("_meta", mcp.MetaProtocolVersion)) ||
		r.Header.Get(mcp.HeaderSessionID) == "" && m.Method != mcp.MethodInitialize
}

var errTooLarge = refuse(http.StatusRequestEntityTooLarge, "message too large")

// body reads the body of a POST.
func (h *Handler) body(q *request) ([]byte, error) {
	if t, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || t != mcp.TypeJSON {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/json")
	}
	if q.ContentLength > mcp.MaxBody { // else it is seen when so much has come
		return nil, errTooLarge
	}
	q.held = h.bodies.of(q.access.User.ID, q.Body)
	body, err := io.ReadAll(q.held)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge
	case errors.Is(err, errCrowded):
		f := call.NewFault(http.StatusTooManyRequests, mcp.CodeServerError, "too much is in flight; wait for answers first")
		f.RetryAfter = time.Second
		return nil, f
	case err != nil:
		return nil, call.NewFault(http.StatusBadRequest, mcp.CodeParseError, "cannot read the request body")
	}
	return body, nil
}

// cors answers browser clients of allowed origins.
func (h *Handler) cors(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && h.originAllowed(origin) {
		if r.Method == http.MethodOptions {
			w.Header().Add("Vary", "Access-Control-Request-Headers")
		}
		httpserver.AllowOrigin(w, r, origin, "GET, POST, DELETE", "7200")
	}
}

// originAllowed guards against DNS rebinding (Streamable HTTP, Security
// Warning): no Origin, our own, a configured one, or a page served from loopback.
func (h *Handler) originAllowed(origin string) bool {
	return origin == "" || slices.Contains(h.origins, origin) || loopbackOrigin(origin)
}

func loopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") &&
		u.Scheme+"://"+u.Host == origin && localhost.Loopback(u.Hostname())
}
