package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// write sends what the handlers say to a request: no other place does.
func (h *Handler) write(w http.ResponseWriter, q *request, a call.Answer, err error) {
	if a.Done != nil {
		defer a.Done()
	}
	if a.Session != "" {
		w.Header().Set(mcp.HeaderSessionID, a.Session)
	}
	status := cmp.Or(a.Status, http.StatusOK)
	switch {
	case err != nil:
		h.refuse(w, q, err)
	case a.Stream != nil:
		h.stream(w, q, a)
	case a.Raw != nil:
		reply(w, status, a.Raw)
	case a.Text != "":
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, a.Text)
	default:
		w.WriteHeader(status)
	}
}

// unauthenticated is why a request's bearer token is not taken.
type unauthenticated struct{ error }

func (u unauthenticated) Unwrap() error { return u.error }

// refuse maps an error to what the client is told.
func (h *Handler) refuse(w http.ResponseWriter, q *request, err error) {
	switch {
	case errors.As(err, &unauthenticated{}), errors.Is(err, model.ErrForgejoGrantDead),
		errors.Is(err, model.ErrInsufficientScope), errors.Is(err, model.ErrRevoked):
		status, header, body := h.cfg.Auth.Challenge(q.at, err)
		if header != "" {
			w.Header().Set("WWW-Authenticate", header)
		}
		httpserver.WriteJSON(w, status, body)
	case errors.Is(err, context.Canceled): // the client has left; nobody reads an answer
	default:
		f := h.exchanges.Refusal(err)
		if f.RetryAfter > 0 {
			ratelimit.SetRetryAfter(w, f.RetryAfter)
		}
		if f.Allow != "" {
			w.Header().Set("Allow", f.Allow)
		}
		reply(w, f.Status, f.Message(q.id))
	}
}

// stream answers with events. After them an error can be told as a message only.
func (h *Handler) stream(w http.ResponseWriter, q *request, a call.Answer) {
	out := mcp.NewEventStream(w)
	last, err := a.Stream(out)
	if last.Done != nil {
		defer last.Done()
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		last.Raw = h.exchanges.Refusal(err).Message(q.id)
	}
	if last.Raw != nil {
		_ = out.Message("", last.Raw) // who does not read it has left
	}
}

// reply answers with one JSON-RPC message.
func reply(w http.ResponseWriter, status int, message []byte) {
	w.Header().Set("Content-Type", mcp.TypeJSON)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(message))) // else a long one goes in chunks
	w.WriteHeader(status)
	_, _ = w.Write(message)
}
