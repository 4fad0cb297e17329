package streamable

import (
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
)

// stream answers with a new event stream that fill fills. Filling continues when
// the client's connection breaks: it may come back for the rest. What is not over
// when the broker ends, the next process fills.
func (h *Handler) stream(r *http.Request, s *session.Session, requests []mcp.Message, fill func(*eventstore.Log) (over bool)) call.Answer {
	l := s.Streams().NewLog(label(requests))
	begin(s, l)
	f := l.Follow(0) // before anything comes, so that nothing is forgotten
	go func() {
		if fill(l) {
			l.Close()
		}
	}()
	return h.follow(r, f)
}

// Listen answers GET: the stream of what belongs to no request, or the rest of
// the stream that broke after Last-Event-ID.
func (h *Handler) Listen(r *http.Request, access model.Access) (call.Answer, error) {
	if r.Header.Get(mcp.HeaderSessionID) == "" || !mcp.Accepts(r.Header, mcp.TypeEventStream) {
		f := call.NewFault(http.StatusMethodNotAllowed, mcp.CodeInvalidRequest, "GET is for the event stream of a session: send "+mcp.HeaderSessionID+" and Accept: text/event-stream")
		f.Allow = "GET, POST, DELETE, OPTIONS"
		return call.Answer{}, f
	}
	s, err := h.session(r, access)
	if err != nil {
		return call.Answer{}, err
	}
	last := r.Header.Get("Last-Event-ID")
	l, next, resumed := s.Streams().After(last)
	if lost := unlabel(eventstore.Label(last)); !resumed && len(lost) > 0 {
		return tellLost(lost), nil
	}
	own := s.Streams().Own()
	if resumed && l != own {
		return h.follow(r, l.Follow(next)), nil
	}
	if !resumed {
		next = -1
	}
	// A new event id: clients such as the Go SDK's give a session up when the stream
	// has ended a few times without any, as it does when the broker restarts.
	begin(s, own)
	return h.follow(r, s.Streams().Listen(next)), nil
}

// begin adds an event with an id and no data, where clients know that.
func begin(s *session.Session, l *eventstore.Log) {
	if s.Protocol() >= mcp.Version20251125 { // older ones would take it for a broken message
		l.Append(nil)
	}
}

// follow answers with what f is told. A session's own stream, which never ends by
// itself, ends at shutdown.
func (h *Handler) follow(r *http.Request, f *eventstore.Follower) call.Answer {
	var end <-chan struct{}
	if f.Replaced() != nil {
		end = h.Draining
	}
	return call.Answer{Stream: func(out *mcp.EventStream) (call.Answer, error) {
		f.Serve(r.Context(), out, h.KeepAlive, end)
		return call.Answer{}, nil
	}}
}
