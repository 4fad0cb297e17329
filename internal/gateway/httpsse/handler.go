package httpsse

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// streamParam is the name that the SDKs' servers give the parameter, too; clients
// take the URI as it is.
const streamParam = "sessionId"

// Config is what a Handler is made of. All fields are required.
type Config struct {
	Path      string // of the messages endpoint, with the public URL's prefix
	Sessions  *session.Manager
	Exchanges *call.Exchanges
	KeepAlive time.Duration // between comments on a quiet stream
}

// Handler serves clients of HTTP+SSE.
type Handler struct {
	cfg   Config
	calls calls

	mu    sync.Mutex
	fresh map[string]*fresh // by stream id
}

// New returns the handler of HTTP+SSE.
func New(cfg Config) *Handler {
	return &Handler{cfg: cfg, calls: calls{over: make(chan struct{})}, fresh: map[string]*fresh{}}
}

// Drain has the streams end once no response is to come on any.
func (h *Handler) Drain() { h.calls.drain() }

// Post takes one message for the stream that the URL names. A request that fails
// gets its error on the stream, where clients look for it: some never post again
// after a status that is no success.
func (h *Handler) Post(w http.ResponseWriter, r *http.Request, access model.Access, m mcp.Message) {
	id := r.URL.Query().Get(streamParam)
	if !isStreamID(id) {
		h.cfg.Exchanges.Fail(w, nil, model.ErrNotFound)
		return
	}
	s, err := h.cfg.Sessions.Get(r.Context(), sessionID(id), access)
	if err == nil {
		h.take(w, r, s, access, m)
		return
	}
	f := h.find(id, access)
	if f == nil || !errors.Is(err, model.ErrNotFound) {
		h.cfg.Exchanges.Fail(w, m.ID(), err)
		return
	}
	h.first(w, r, f, access, m)
}

// take passes a message to its session.
func (h *Handler) take(w http.ResponseWriter, r *http.Request, s *session.Session, access model.Access, m mcp.Message) {
	own := s.Streams().Own()
	switch {
	case m.Kind != mcp.Request:
		err := s.Tell(r.Context(), m)
		if err != nil && !errors.Is(err, relay.ErrNoQuestion) { // the question may have ended meanwhile
			h.cfg.Exchanges.Fail(w, nil, err)
			return
		}
	case m.Method == mcp.MethodInitialize:
		tell(own, mcp.ErrorResponse(m.ID(), mcp.CodeInvalidRequest, "this stream has a session already; open another for another"))
	default:
		x, err := h.cfg.Exchanges.Begin(r.Context(), s, access, m)
		if err != nil {
			h.refuse(w, own, m.ID(), err)
			return
		}
		h.carry(x, own)
	}
	accepted(w)
}

// carry has the session's stream carry what the exchange yields.
func (h *Handler) carry(x *call.Exchange, own *eventstore.Log) {
	h.calls.begin()
	go func() {
		defer h.calls.end()
		x.Carry(own)
	}()
}

// first takes a message for a stream that has no session.
func (h *Handler) first(w http.ResponseWriter, r *http.Request, f *fresh, access model.Access, m mcp.Message) {
	own := f.streams.Own()
	switch {
	case m.Kind != mcp.Request: // about what a broken stream carried
	case m.Method == mcp.MethodPing: // allowed at any time
		tell(own, mcp.EmptyResult(m.ID()))
	case stateless(m): // a client of several eras tries; it goes on with initialize
		tell(own, mcp.ErrorResponse(m.ID(), mcp.CodeMethodNotFound, "this transport has no stateless requests; send initialize first"))
	case m.Method == mcp.MethodInitialize:
		s, response, err := h.begin(r.Context(), f, access, m)
		if err != nil {
			h.refuse(w, own, m.ID(), err)
			return
		}
		if response == nil { // another request was faster
			h.take(w, r, s, access, m)
			return
		}
		tell(own, response)
	default:
		h.again(w, r, f, access, m)
		return
	}
	accepted(w)
}

// stateless reports whether a request is of a revision without a handshake, which
// does not have this transport.
func stateless(m mcp.Message) bool {
	version := m.ParamString("_meta", mcp.MetaProtocolVersion)
	return version != "" && !mcp.Handshake(version)
}

// again takes the first message of a client that goes on on another stream.
func (h *Handler) again(w http.ResponseWriter, r *http.Request, f *fresh, access model.Access, m mcp.Message) {
	s, err := h.goOn(r.Context(), f, access)
	switch {
	case errors.Is(err, model.ErrNotFound):
		tell(f.streams.Own(), mcp.ErrorResponse(m.ID(), mcp.CodeInvalidRequest, "there is no session on this stream; send initialize first"))
		accepted(w)
	case err != nil:
		h.refuse(w, f.streams.Own(), m.ID(), err)
	default:
		h.take(w, r, s, access, m)
	}
}

// refuse answers a request that could not begin: what is about the client's token
// or its session by a status, the rest on the stream.
func (h *Handler) refuse(w http.ResponseWriter, own *eventstore.Log, id json.RawMessage, err error) {
	if errors.Is(err, model.ErrForgejoGrantDead) || errors.Is(err, model.ErrInsufficientScope) || errors.Is(err, model.ErrRevoked) || errors.Is(err, model.ErrNotFound) || errors.Is(err, context.Canceled) {
		h.cfg.Exchanges.Fail(w, id, err)
		return
	}
	tell(own, h.cfg.Exchanges.Refusal(id, err))
	accepted(w)
}

// tell puts a message of the broker's own on the stream.
func tell(own *eventstore.Log, raw []byte) { _ = own.Write(context.Background(), raw) }

func accepted(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, "Accepted")
}

func tooManyStreams(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "30")
	call.Reply(w, http.StatusTooManyRequests, mcp.ErrorResponse(nil, mcp.CodeServerError, "too many streams are open without a session; send initialize on them or close them"))
}
