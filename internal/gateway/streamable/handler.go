// Package streamable is the Streamable HTTP transport of the revisions with a
// handshake, 2025-03-26 to 2025-11-25: messages by POST to the session that
// Mcp-Session-Id names, answered with JSON when the response comes first and with an
// event stream when something precedes it; the session's own stream at GET; both
// resumed by Last-Event-ID; DELETE. It is called with authenticated requests only.
package streamable

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
)

// Handler serves clients that keep a session.
type Handler struct{ *call.Exchanges }

// Post takes one message.
func (h *Handler) Post(r *http.Request, access model.Access, m mcp.Message) (call.Answer, error) {
	if m.Kind == mcp.Request && m.Method == mcp.MethodInitialize {
		s, response, err := h.Sessions.Create(r.Context(), access, m)
		answer := call.Answer{Raw: response}
		if s != nil {
			answer.Session = s.ID()
		}
		return answer, err
	}
	s, err := h.session(r, access)
	if err != nil {
		return call.Answer{}, err
	}
	if m.Kind == mcp.Request {
		return h.call(r, s, access, m)
	}
	return call.Answer{Status: http.StatusAccepted}, s.Tell(r.Context(), m)
}

// Batch takes a JSON array, which only 2025-03-26 has.
func (h *Handler) Batch(r *http.Request, access model.Access, body []byte) (call.Answer, error) {
	all, err := mcp.ParseBatch(body)
	if err != nil {
		return call.Answer{}, err
	}
	s, err := h.session(r, access)
	if err != nil {
		return call.Answer{}, err
	}
	if s.Protocol() != mcp.Version20250326 {
		return call.Answer{}, fmt.Errorf("%w: revision %s has no batches", mcp.ErrNotMessage, s.Protocol())
	}
	return h.batch(r, s, access, all), nil
}

// Delete ends the session.
func (h *Handler) Delete(r *http.Request, access model.Access) (call.Answer, error) {
	s, err := h.session(r, access)
	if err != nil {
		return call.Answer{}, err
	}
	if err := h.Sessions.End(r.Context(), s); err != nil {
		h.Log.Error("cannot end a session for its client", "session", s.Label(), "error", err)
		return call.Answer{}, call.NewFault(http.StatusInternalServerError, mcp.CodeInternalError, call.Message(err))
	}
	return call.Answer{Status: http.StatusNoContent}, nil
}

// session finds the session that a request names.
func (h *Handler) session(r *http.Request, access model.Access) (*session.Session, error) {
	name := r.Header.Get(mcp.HeaderSessionID)
	if name == "" {
		return nil, call.NewFault(http.StatusBadRequest, mcp.CodeInvalidRequest, mcp.HeaderSessionID+" header is missing; send initialize first")
	}
	return h.Sessions.Get(r.Context(), name, access)
}

// call relays one request and answers with JSON when the response is the first
// thing that comes, with an event stream when something comes before it.
func (h *Handler) call(r *http.Request, s *session.Session, access model.Access, m mcp.Message) (call.Answer, error) {
	x, err := h.Begin(r.Context(), s, access, m)
	if err != nil {
		return call.Answer{}, err
	}
	e, err := x.Next(r.Context(), call.KeepAlive)
	switch {
	case r.Context().Err() != nil: // the client has seen nothing that it could come back to
		x.Left(r.Context())
		return call.Answer{}, r.Context().Err()
	case errors.Is(err, call.ErrQuiet):
		return h.stream(r, s, []mcp.Message{m}, x.Carry), nil
	case err == nil && !e.Final:
		return h.stream(r, s, []mcp.Message{m}, func(l *eventstore.Log) bool { call.Tell(l, e.Raw); return x.Carry(l) }), nil
	}
	raw, err := x.End(r.Context(), e, err)
	answer := call.Answer{Raw: raw, Done: x.Done}
	if raw == nil { // cancelled
		answer.Stream = call.Silence().Stream
	}
	return answer, err
}

// batch relays the messages of one JSON array: each request's response goes to
// one common stream.
func (h *Handler) batch(r *http.Request, s *session.Session, access model.Access, all []mcp.Message) call.Answer {
	var begun []*call.Exchange
	var failed [][]byte
	for _, m := range all {
		if m.Kind != mcp.Request {
			if err := s.Tell(r.Context(), m); err != nil {
				h.Log.Debug("dropped a message of a batch", "error", err)
			}
			continue
		}
		x, err := h.Begin(r.Context(), s, access, m)
		if err != nil {
			failed = append(failed, h.Refusal(err).Message(m.ID()))
			continue
		}
		begun = append(begun, x)
	}
	if len(begun)+len(failed) == 0 {
		return call.Answer{Status: http.StatusAccepted}
	}
	return h.stream(r, s, all, func(l *eventstore.Log) bool {
		for _, raw := range failed {
			call.Tell(l, raw)
		}
		return call.CarryAll(l, begun)
	})
}
