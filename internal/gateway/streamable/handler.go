package streamable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Config is what a Handler is made of. All fields are required.
type Config struct {
	Sessions  *session.Manager
	Exchanges *call.Exchanges
	Log       *slog.Logger
	KeepAlive time.Duration   // between comments on a quiet stream
	Draining  <-chan struct{} // closed when streams that would never end shall end
}

// Handler serves clients that keep a session.
type Handler struct{ cfg Config }

// New returns the handler of the handshake revisions.
func New(cfg Config) *Handler { return &Handler{cfg} }

// Post takes one message.
func (h *Handler) Post(w http.ResponseWriter, r *http.Request, access model.Access, m mcp.Message) {
	if m.Kind == mcp.Request && m.Method == mcp.MethodInitialize {
		h.initialize(w, r, access, m)
		return
	}
	s, ok := h.session(w, r, access, m.ID())
	if !ok {
		return
	}
	if m.Kind == mcp.Request {
		h.call(w, r, s, access, m)
		return
	}
	if err := s.Tell(r.Context(), m); err != nil {
		h.cfg.Exchanges.Fail(w, nil, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// Batch takes a JSON array, which only 2025-03-26 has.
func (h *Handler) Batch(w http.ResponseWriter, r *http.Request, access model.Access, body []byte) {
	all, err := mcp.ParseBatch(body)
	if err != nil {
		call.Unreadable(w, err)
		return
	}
	s, ok := h.session(w, r, access, nil)
	if !ok {
		return
	}
	if s.Protocol() != mcp.Version20250326 {
		call.Unreadable(w, fmt.Errorf("%w: revision %s has no batches", mcp.ErrNotMessage, s.Protocol()))
		return
	}
	h.batch(w, r, s, access, all)
}

// Delete ends the session.
func (h *Handler) Delete(w http.ResponseWriter, r *http.Request, access model.Access) {
	s, ok := h.session(w, r, access, nil)
	if !ok {
		return
	}
	if err := h.cfg.Sessions.End(r.Context(), s); err != nil {
		h.cfg.Log.Error("cannot end a session for its client", "session", s.Label(), "error", err)
		call.Reply(w, http.StatusInternalServerError, mcp.ErrorResponse(nil, mcp.CodeInternalError, call.Message(err)))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// session finds the session a request names, or answers.
func (h *Handler) session(w http.ResponseWriter, r *http.Request, access model.Access, id []byte) (*session.Session, bool) {
	name := r.Header.Get(mcp.HeaderSessionID)
	if name == "" {
		call.Reply(w, http.StatusBadRequest, mcp.ErrorResponse(id, mcp.CodeInvalidRequest, mcp.HeaderSessionID+" header is missing; send initialize first"))
		return nil, false
	}
	s, err := h.cfg.Sessions.Get(r.Context(), name, access)
	if err != nil {
		h.cfg.Exchanges.Fail(w, id, err)
		return nil, false
	}
	return s, true
}

func (h *Handler) initialize(w http.ResponseWriter, r *http.Request, access model.Access, m mcp.Message) {
	s, response, err := h.cfg.Sessions.Create(r.Context(), access, m)
	if err != nil {
		h.cfg.Exchanges.Fail(w, m.ID(), err)
		return
	}
	if s != nil {
		w.Header().Set(mcp.HeaderSessionID, s.ID())
	}
	call.Reply(w, http.StatusOK, response)
}

// call relays one request and answers with JSON when the response is the first
// thing that comes, with an event stream when something comes before it.
func (h *Handler) call(w http.ResponseWriter, r *http.Request, s *session.Session, access model.Access, m mcp.Message) {
	x, err := h.cfg.Exchanges.Begin(r.Context(), s, access, m)
	if err != nil {
		h.cfg.Exchanges.Fail(w, m.ID(), err)
		return
	}
	e, err := x.Next(r.Context(), h.cfg.KeepAlive)
	switch {
	case r.Context().Err() != nil: // the client has seen nothing that it could come back to
		x.Left(r.Context())
	case errors.Is(err, call.ErrQuiet):
		h.stream(w, r, s, []mcp.Message{m}, x.Carry)
	case err == nil && !e.Final:
		h.stream(w, r, s, []mcp.Message{m}, func(l *eventstore.Log) bool { write(l, e.Raw); return x.Carry(l) })
	default:
		h.answer(w, r, x, e, err)
	}
}

// answer writes the response as JSON.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, x *call.Exchange, e relay.Event, err error) {
	defer x.Done()
	end := x.End(r.Context(), e, err)
	switch {
	case end.Challenge != nil:
		h.cfg.Exchanges.Fail(w, nil, end.Challenge)
	case end.Raw == nil: // cancelled: an exchange without a response
		mcp.NewEventStream(w)
	default:
		call.Reply(w, http.StatusOK, end.Raw)
	}
}

// write adds to l and waits for whoever follows it; that has to keep up, or it is
// cut off.
func write(l *eventstore.Log, raw []byte) { _ = l.Write(context.Background(), raw) }

// batch relays the messages of one JSON array: each request's response goes to
// one common stream.
func (h *Handler) batch(w http.ResponseWriter, r *http.Request, s *session.Session, access model.Access, all []mcp.Message) {
	var begun []*call.Exchange
	var failed [][]byte
	for _, m := range all {
		if m.Kind != mcp.Request {
			if err := s.Tell(r.Context(), m); err != nil {
				h.cfg.Log.Debug("dropped a message of a batch", "error", err)
			}
			continue
		}
		x, err := h.cfg.Exchanges.Begin(r.Context(), s, access, m)
		if err != nil {
			failed = append(failed, h.cfg.Exchanges.Refusal(m.ID(), err))
			continue
		}
		begun = append(begun, x)
	}
	if len(begun)+len(failed) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	h.stream(w, r, s, all, func(l *eventstore.Log) bool {
		for _, raw := range failed {
			write(l, raw)
		}
		return call.CarryAll(l, begun)
	})
}
