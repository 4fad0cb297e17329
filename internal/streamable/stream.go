package streamable

import (
	"net/http"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/exchange"
	"github.com/fjmcp/fjmcp-broker/internal/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/stream"
)

// stream answers with a new event stream that fill fills. Filling goes on when
// the client's connection breaks: it may come back for the rest.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, s *session.Session, fill func(*stream.Log)) {
	l := s.Streams().Open()
	if s.Protocol() >= mcp.Version20251125 { // older clients would take it for a broken message
		l.Append(nil)
	}
	go func() {
		defer l.Close()
		fill(l)
	}()
	h.follow(w, r, l, 0, nil)
}

// Listen answers GET: the stream of what belongs to no request, or the rest of
// the stream that broke after Last-Event-ID.
func (h *Handler) Listen(w http.ResponseWriter, r *http.Request, access broker.Access) {
	if r.Header.Get(mcp.HeaderSessionID) == "" || !acceptsEvents(r) {
		w.Header().Set("Allow", "GET, POST, DELETE, OPTIONS")
		exchange.Reply(w, http.StatusMethodNotAllowed, mcp.ErrorResponse(nil, mcp.CodeInvalidRequest, "GET is for the event stream of a session: send "+mcp.HeaderSessionID+" and Accept: text/event-stream"))
		return
	}
	s, ok := h.session(w, r, access, nil)
	if !ok {
		return
	}
	l, next, resumed := s.Streams().Resume(r.Header.Get("Last-Event-ID"))
	if resumed && l != s.Streams().Own() {
		h.follow(w, r, l, next, nil)
		return
	}
	listener := s.Streams().Listen()
	defer listener.Leave()
	if !resumed {
		next = listener.Next
	}
	h.follow(w, r, s.Streams().Own(), next, listener)
}

func acceptsEvents(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return strings.Contains(accept, "text/event-stream") || strings.Contains(accept, "*/*")
}

// follow writes l from position next on, with comments while it is quiet, until
// l ends, the client leaves or another takes the listener's place. The listener
// is nil but for a session's own stream.
func (h *Handler) follow(w http.ResponseWriter, r *http.Request, l *stream.Log, next int, listener *stream.Listener) {
	out := mcp.NewEventStream(w)
	quiet := time.NewTicker(h.cfg.KeepAlive)
	defer quiet.Stop()
	var replaced, draining <-chan struct{}
	told := func(int) {}
	if listener != nil {
		replaced, draining, told = listener.Replaced, h.cfg.Draining, listener.Told
	}
	for {
		events, after, done, changed := l.From(next)
		for _, e := range events {
			if out.Message(e.ID, e.Raw) != nil {
				return
			}
		}
		next = after
		told(next)
		if done {
			return
		}
		select {
		case <-changed:
		case <-replaced:
			return
		case <-draining:
			return
		case <-r.Context().Done():
			return
		case <-quiet.C:
			if out.KeepAlive() != nil {
				return
			}
		}
	}
}
