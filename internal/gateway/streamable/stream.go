package streamable

import (
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
)

// stream answers with a new event stream that fill fills. Filling goes on when
// the client's connection breaks: it may come back for the rest. What is not over
// when the broker ends, the next process fills.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, s *session.Session, requests []mcp.Message, fill func(*eventstore.Log) (over bool)) {
	l := s.Streams().Open(label(requests))
	begin(s, l)
	f := l.Follow(0) // before anything comes, so that nothing is forgotten
	go func() {
		if fill(l) {
			l.Close()
		}
	}()
	h.follow(w, r, f)
}

// Listen answers GET: the stream of what belongs to no request, or the rest of
// the stream that broke after Last-Event-ID.
func (h *Handler) Listen(w http.ResponseWriter, r *http.Request, access model.Access) {
	if r.Header.Get(mcp.HeaderSessionID) == "" || !mcp.Accepts(r.Header, mcp.TypeEventStream) {
		w.Header().Set("Allow", "GET, POST, DELETE, OPTIONS")
		call.Reply(w, http.StatusMethodNotAllowed, mcp.ErrorResponse(nil, mcp.CodeInvalidRequest, "GET is for the event stream of a session: send "+mcp.HeaderSessionID+" and Accept: text/event-stream"))
		return
	}
	s, ok := h.session(w, r, access, nil)
	if !ok {
		return
	}
	last := r.Header.Get("Last-Event-ID")
	l, next, resumed := s.Streams().Resume(last)
	if lost := unlabel(eventstore.Label(last)); !resumed && len(lost) > 0 {
		h.tellLost(w, lost)
		return
	}
	own := s.Streams().Own()
	if resumed && l != own {
		h.follow(w, r, l.Follow(next))
		return
	}
	if !resumed {
		next = -1
	}
	// A new event id: clients such as the Go SDK's give a session up when the stream
	// has ended a few times without any, as it does when the broker restarts.
	begin(s, own)
	h.follow(w, r, s.Streams().Listen(next))
}

// begin adds an event with an id and no data, where clients know that.
func begin(s *session.Session, l *eventstore.Log) {
	if s.Protocol() >= mcp.Version20251125 { // older ones would take it for a broken message
		l.Append(nil)
	}
}

// follow writes what f is told. A session's own stream, which never ends by itself,
// ends at shutdown.
func (h *Handler) follow(w http.ResponseWriter, r *http.Request, f *eventstore.Follower) {
	var end <-chan struct{}
	if f.Replaced() != nil {
		end = h.cfg.Draining
	}
	f.Serve(r.Context(), mcp.NewEventStream(w), h.cfg.KeepAlive, end)
}
