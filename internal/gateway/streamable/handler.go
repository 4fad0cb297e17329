// Package streamable is the Streamable HTTP transport of the revisions with a
// handshake, 2025-03-26 to 2025-11-25: messages by POST to the session that
// Mcp-Session-Id names, answered with JSON when the response comes first and with an
// event stream when something precedes it; the session's own stream at GET; both
// resumed by Last-Event-ID; DELETE. It is called with authenticated requests only.
package streamable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

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
	return call.Answer{Status: http.StatusAccepted}, h.Tell(r.Context(), s, m)
}

// Batch takes a JSON array, which only 2025-03-26 has.
func (h *Handler) Batch(r *http.Request, access model.Access, body []byte) (call.Answer, error) {
	all, err := mcp.Batch(body)
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
	x, err := h.Begin(r, s, access, m)
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
// one common stream, and so does the error of what is not a message.
func (h *Handler) batch(r *http.Request, s *session.Session, access model.Access, all []json.RawMessage) call.Answer {
	var requests []mcp.Message
	var begun []*call.Exchange
	var failed [][]byte
	for _, item := range all {
		m, err := mcp.Parse(item)
		if err == nil && m.Kind != mcp.Request {
			if err := h.Tell(r.Context(), s, m); err != nil {
				h.Log.Debug("dropped a message of a batch", "error", err)
			}
			continue
		}
		var x *call.Exchange
		if err == nil {
			requests = append(requests, m)
			x, err = h.beginOne(r, s, access, m)
		}
		if err != nil {
			failed = append(failed, h.Refusal(err).Message(m.ID()))
			continue
		}
		begun = append(begun, x)
	}
	switch {
	case len(begun)+len(failed) == 0:
		return call.Answer{Status: http.StatusAccepted}
	case len(requests) == 0 && len(failed) == len(all):
		return call.Answer{Status: http.StatusBadRequest, Raw: slices.Concat([]byte("["), bytes.Join(failed, []byte(",")), []byte("]"))}
	}
	return h.stream(r, s, requests, func(l *eventstore.Log) bool {
		for _, raw := range failed {
			call.Tell(l, raw)
		}
		return call.CarryAll(l, begun)
	})
}

// beginOne begins one request of a batch, in which initialize must not stand (2025-03-26,
// Lifecycle).
func (h *Handler) beginOne(r *http.Request, s *session.Session, access model.Access, m mcp.Message) (*call.Exchange, error) {
	if m.Method == mcp.MethodInitialize {
		return nil, fmt.Errorf("%w: initialize must not stand in a batch", mcp.ErrNotMessage)
	}
	return h.Begin(r, s, access, m)
}
