// Package httpsse is the HTTP+SSE transport of revision 2024-11-05: a client opens
// an event stream at GET, is told there where to post its messages, and gets all
// answers on the stream.
//
//	GET /sse ─▶ event: endpoint   /messages?sessionId=<stream>
//	POST initialize ─▶ 202        the session begins
//	         event: message       the response
//	POST tools/call ─▶ 202 …
//
// A stream's id stands in URLs, and the session's is made of it. It is called with
// authenticated requests only.
package httpsse

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

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

// Handler serves clients of HTTP+SSE.
type Handler struct {
	*call.Exchanges

	mu    sync.Mutex
	fresh map[string]*fresh // by stream id
}

// New returns the handler of HTTP+SSE.
func New(xs *call.Exchanges) *Handler {
	return &Handler{Exchanges: xs, fresh: map[string]*fresh{}}
}

// Post takes one message for the stream that the URL names. A request that fails
// gets its error on the stream, where clients look for it: some never post again
// after a status that is no success.
func (h *Handler) Post(r *http.Request, access model.Access, m mcp.Message) (call.Answer, error) {
	id := r.URL.Query().Get(streamParam)
	if !isStreamID(id) {
		return call.Answer{}, model.ErrNotFound
	}
	s, err := h.Sessions.Get(r.Context(), sessionID(id), access)
	if err == nil {
		return h.pass(r, s, access, m)
	}
	f := h.find(id, access)
	switch {
	case f == nil || !errors.Is(err, model.ErrNotFound):
		return call.Answer{}, err
	case f.reads != access.ViewReadOnly:
		return call.Answer{}, session.ErrOtherView
	}
	return h.first(r, f, access, m)
}

// pass passes a message to its session.
func (h *Handler) pass(r *http.Request, s *session.Session, access model.Access, m mcp.Message) (call.Answer, error) {
	own := s.Streams().Own()
	switch {
	case m.Kind != mcp.Request:
		err := h.Tell(r.Context(), s, m)
		if err != nil && !errors.Is(err, relay.ErrNoQuestion) { // the question may have ended meanwhile
			return call.Answer{}, err
		}
	case m.Method == mcp.MethodInitialize:
		call.Tell(own, mcp.ErrorResponse(m.ID(), mcp.CodeInvalidRequest, "this stream has a session already; open another for another"))
	default:
		done := own.Fill() // before Carry does, so that the stream does not end meanwhile
		x, err := h.Begin(r, s, access, m)
		if err != nil {
			defer done()
			return h.refuse(own, m.ID(), err)
		}
		go func() {
			defer done()
			x.Carry(own)
		}()
	}
	return accepted, nil
}

// first takes a message for a stream that has no session.
func (h *Handler) first(r *http.Request, f *fresh, access model.Access, m mcp.Message) (call.Answer, error) {
	own := f.streams.Own()
	switch {
	case m.Kind != mcp.Request: // about what a broken stream carried
	case m.Method == mcp.MethodPing: // allowed at any time
		call.Tell(own, mcp.EmptyResult(m.ID()))
	case mcp.Stateless(m.ParamString("_meta", mcp.MetaProtocolVersion)): // a client of several eras tries; it continues with initialize
		call.Tell(own, mcp.ErrorResponse(m.ID(), mcp.CodeMethodNotFound, "this transport has no stateless requests; send initialize first"))
	case m.Method == mcp.MethodInitialize:
		s, response, err := h.begin(r.Context(), f, access, m)
		if err != nil {
			return h.refuse(own, m.ID(), err)
		}
		if response == nil { // another request was faster
			return h.pass(r, s, access, m)
		}
		call.Tell(own, response)
	default:
		return h.again(r, f, access, m)
	}
	return accepted, nil
}

// again takes the first message of a client that continues on another stream.
func (h *Handler) again(r *http.Request, f *fresh, access model.Access, m mcp.Message) (call.Answer, error) {
	s, err := h.replace(r.Context(), f, access)
	switch {
	case errors.Is(err, model.ErrNotFound):
		call.Tell(f.streams.Own(), mcp.ErrorResponse(m.ID(), mcp.CodeInvalidRequest, "there is no session on this stream; send initialize first"))
		return accepted, nil
	case err != nil:
		return h.refuse(f.streams.Own(), m.ID(), err)
	}
	return h.pass(r, s, access, m)
}

// refuse answers a request that could not begin: what is about the client's login or its
// session by a status, the rest on the stream, also that its token does not reach: clients
// of this revision know of no way to ask for more.
func (h *Handler) refuse(own *eventstore.Log, id json.RawMessage, err error) (call.Answer, error) {
	for _, told := range []error{model.ErrForgejoGrantDead, model.ErrRevoked, model.ErrNotFound, context.Canceled} {
		if errors.Is(err, told) {
			return call.Answer{}, err
		}
	}
	call.Tell(own, h.Refusal(err).Message(id))
	return accepted, nil
}

// accepted answers what is answered on the stream, or not at all.
var accepted = call.Answer{Status: http.StatusAccepted, Text: "Accepted"}
