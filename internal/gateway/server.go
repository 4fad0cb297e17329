package gateway

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/httpsse"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/stateless"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/streamable"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Authenticator checks bearer tokens and challenges those without one.
type Authenticator interface {
	Authenticate(*http.Request) (model.Access, error)
	Challenge(w http.ResponseWriter, endpoint string, err error)
}

// Config is what a Handler is made of.
type Config struct {
	PublicURL *url.URL
	Auth      Authenticator
	Sessions  *session.Manager
	Keys      *seal.Keyring // for what clients keep for us
	Audit     *audit.Logger
	Log       *slog.Logger

	// FailedBearers, if set, limits requests whose access token is no good.
	FailedBearers *ratelimit.Limiter

	// AllowedOrigins lists web origins, such as https://app.example.org, whose
	// pages may use the endpoint beside our own and loopback ones.
	AllowedOrigins []string

	MaxBody        int64         // bytes of a request, and of all of a user at once; 0 means 64 MiB
	KeepAlive      time.Duration // between comments on a quiet stream; 0 means 15 s
	RequestTimeout time.Duration // for a response, counted from the last progress; 0 means 5 min
}

// Handler serves the MCP endpoints.
type Handler struct {
	cfg        Config
	origins    []string // our own and the allowed ones
	bodies     *bodies
	streamable *streamable.Handler
	httpsse    *httpsse.Handler
	stateless  *stateless.Handler

	draining chan struct{}
	drain    sync.Once
}

// New returns the handler of the MCP endpoints.
func New(cfg Config) *Handler {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 64 << 20
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = 15 * time.Second
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = 5 * time.Minute
	}
	own := cfg.PublicURL.Scheme + "://" + cfg.PublicURL.Host
	h := &Handler{cfg: cfg, origins: append([]string{own}, cfg.AllowedOrigins...), bodies: newBodies(cfg.MaxBody), draining: make(chan struct{})}
	exchanges := h.exchanges(mcp.PathStreamable)
	h.streamable = streamable.New(streamable.Config{Sessions: cfg.Sessions, Exchanges: exchanges, Log: cfg.Log, KeepAlive: cfg.KeepAlive, Draining: h.draining})
	h.stateless = stateless.New(stateless.Config{Sessions: cfg.Sessions, Exchanges: exchanges, Log: cfg.Log, Keys: cfg.Keys, KeepAlive: cfg.KeepAlive, Draining: h.draining})
	h.httpsse = httpsse.New(httpsse.Config{Path: cfg.PublicURL.Path + mcp.PathMessages, Sessions: cfg.Sessions, Exchanges: h.exchanges(mcp.PathSSE), KeepAlive: cfg.KeepAlive})
	return h
}

// exchanges are those of one protected resource.
func (h *Handler) exchanges(resource string) *call.Exchanges {
	return call.New(call.Config{PublicURL: h.cfg.PublicURL, Auth: h.cfg.Auth, Endpoint: resource, Audit: h.cfg.Audit, Log: h.cfg.Log, Timeout: h.cfg.RequestTimeout})
}

// Drain ends the streams that would never end by themselves; their clients come
// back and resume. Responses under way go on.
func (h *Handler) Drain() {
	h.drain.Do(func() { close(h.draining) })
	h.httpsse.Drain()
}

// Resume goes on with the calls of a restored session, see session.Manager.Restore.
func (h *Handler) Resume(s *session.Session, calls []*session.Call) {
	h.exchanges(mcp.PathStreamable).Resume(s, calls)
}

// Routes registers the endpoints, below the public URL's path.
func (h *Handler) Routes(mux *http.ServeMux) {
	for path, e := range map[string]endpoint{
		mcp.PathStreamable: {mcp.PathStreamable, h.serveStreamable},
		mcp.PathSSE:        {mcp.PathSSE, h.serveEvents},
		mcp.PathMessages:   {mcp.PathSSE, h.serveMessages},
	} {
		mux.HandleFunc(h.cfg.PublicURL.Path+path, func(w http.ResponseWriter, r *http.Request) { h.guard(w, r, e) })
	}
}

// endpoint is what serves a path once the client is known.
type endpoint struct {
	resource string // the protected resource it belongs to
	serve    func(http.ResponseWriter, *http.Request, model.Access)
}

// guard lets only authenticated requests of allowed origins through.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request, e endpoint) {
	h.cors(w, r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	access, err := h.cfg.Auth.Authenticate(r)
	if err != nil {
		h.unauthenticated(w, r, e.resource, err)
		return
	}
	if !h.originAllowed(r.Header.Get("Origin")) {
		call.Reply(w, http.StatusForbidden, mcp.ErrorResponse(nil, mcp.CodeInvalidRequest, "this Origin may not use the endpoint"))
		return
	}
	e.serve(w, r, access)
}

func (h *Handler) serveStreamable(w http.ResponseWriter, r *http.Request, access model.Access) {
	switch r.Method {
	case http.MethodPost:
		h.post(w, r, access)
	case http.MethodGet:
		h.streamable.Listen(w, r, access)
	case http.MethodDelete:
		h.streamable.Delete(w, r, access)
	default:
		methodNotAllowed(w, "GET, POST, DELETE, OPTIONS", "use GET, POST or DELETE")
	}
}

// serveEvents refuses POST, upon which clients that try Streamable HTTP first fall
// back to this transport.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request, access model.Access) {
	if r.Method != http.MethodGet {
		methodNotAllowed(w, "GET, OPTIONS", "GET opens the event stream; post where its first event says")
		return
	}
	h.httpsse.Listen(w, r, access)
}

func (h *Handler) serveMessages(w http.ResponseWriter, r *http.Request, access model.Access) {
	if r.Method != http.MethodPost {
		methodNotAllowed(w, "POST, OPTIONS", "POST messages here; the event stream is at "+mcp.PathSSE)
		return
	}
	held := h.bodies.of(access.User.ID, http.MaxBytesReader(w, r.Body, h.cfg.MaxBody))
	defer held.Close()
	body, ok := h.body(w, r, held)
	if !ok {
		return
	}
	m, err := mcp.Parse(body)
	if err != nil { // a batch among others, which this revision does not have
		call.Unreadable(w, err)
		return
	}
	h.httpsse.Post(w, r, access, m)
}

func methodNotAllowed(w http.ResponseWriter, allow, hint string) {
	w.Header().Set("Allow", allow)
	call.Reply(w, http.StatusMethodNotAllowed, mcp.ErrorResponse(nil, mcp.CodeInvalidRequest, hint))
}

// unauthenticated answers a request without a good token. One that came with a
// bad token counts, since clients that have gone wrong repeat it; good tokens and
// requests without one are never limited.
func (h *Handler) unauthenticated(w http.ResponseWriter, r *http.Request, resource string, err error) {
	if errors.Is(err, model.ErrForgejoDown) {
		h.exchanges(resource).Fail(w, nil, err)
		return
	}
	if badToken(err) {
		if wait := h.cfg.FailedBearers.Take(r, r.Header.Get("Authorization")); wait > 0 {
			ratelimit.SetRetryAfter(w, wait)
			call.Reply(w, http.StatusTooManyRequests, mcp.ErrorResponse(nil, mcp.CodeServerError, "too many requests with an access token that is not valid; log in again"))
			return
		}
	}
	h.cfg.Auth.Challenge(w, resource, err)
}

func badToken(err error) bool {
	return errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrExpired) || errors.Is(err, model.ErrRevoked) || errors.Is(err, model.ErrForgejoGrantDead)
}

// post takes one message of a client, or a batch of them.
func (h *Handler) post(w http.ResponseWriter, r *http.Request, access model.Access) {
	if !mcp.Accepts(r.Header, mcp.TypeJSON, mcp.TypeEventStream) {
		call.Reply(w, http.StatusNotAcceptable, mcp.ErrorResponse(nil, mcp.CodeInvalidRequest, "Accept must allow application/json or text/event-stream"))
		return
	}
	held := h.bodies.of(access.User.ID, http.MaxBytesReader(w, r.Body, h.cfg.MaxBody))
	defer held.Close()
	body, ok := h.body(w, r, held)
	if !ok {
		return
	}
	if mcp.IsBatch(body) {
		h.streamable.Batch(w, r, access, body)
		return
	}
	m, err := mcp.Parse(body)
	version := r.Header.Get(mcp.HeaderProtocolVersion)
	switch {
	case err != nil:
		call.Unreadable(w, err)
	case sessionless(r, m):
		h.stateless.Post(w, r, access, m)
	case version != "" && !mcp.KnownVersion(version) && m.Method != mcp.MethodInitialize:
		call.Reply(w, http.StatusBadRequest, mcp.ErrorResponse(m.ID(), mcp.CodeInvalidRequest, "unknown "+mcp.HeaderProtocolVersion+"; supported are "+strings.Join(mcp.Supported, ", ")))
	default:
		h.streamable.Post(w, r, access, m)
	}
}

// sessionless reports whether a message is none of a session's: it is of a revision
// that has none, or names none and does not begin one. A header alone does not
// tell: clients of two generations send 2026-07-28 within a session of an older
// revision, and Mcp-Method with it.
func sessionless(r *http.Request, m mcp.Message) bool {
	if version := m.ParamString("_meta", mcp.MetaProtocolVersion); version != "" && !mcp.Handshake(version) {
		return true
	}
	return r.Header.Get(mcp.HeaderSessionID) == "" && m.Method != mcp.MethodInitialize
}

// body reads the body of a POST.
func (h *Handler) body(w http.ResponseWriter, r *http.Request, from io.Reader) ([]byte, bool) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != mcp.TypeJSON {
		call.Reply(w, http.StatusUnsupportedMediaType, mcp.ErrorResponse(nil, mcp.CodeInvalidRequest, "Content-Type must be application/json"))
		return nil, false
	}
	body, err := io.ReadAll(from)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		call.Reply(w, http.StatusRequestEntityTooLarge, mcp.ErrorResponse(nil, mcp.CodeInvalidRequest, "message too large"))
	case errors.Is(err, errCrowded):
		w.Header().Set("Retry-After", "1")
		call.Reply(w, http.StatusTooManyRequests, mcp.ErrorResponse(nil, mcp.CodeServerError, "too much is in flight; wait for answers first"))
	case err != nil:
		call.Reply(w, http.StatusBadRequest, mcp.ErrorResponse(nil, mcp.CodeParseError, "cannot read the request body"))
	default:
		return body, true
	}
	return nil, false
}
