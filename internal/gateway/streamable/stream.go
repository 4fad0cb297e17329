package streamable

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

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
		f.Serve(r.Context(), out, call.KeepAlive, end)
		return call.Answer{}, nil
	}}
}

// maxLabel bounds, in bytes, what event ids say of the requests they are about.
const maxLabel = 128

// label names the requests that a stream answers in its event ids. So a client that
// comes back for a stream that is no more, as after the broker was killed, can be
// told of each that it failed; else it would wait for the answer for ever.
func label(requests []mcp.Message) string {
	var ids []string
	for _, m := range requests {
		if m.Kind == mcp.Request {
			ids = append(ids, base64.RawURLEncoding.EncodeToString(m.ID()))
		}
	}
	if text := strings.Join(ids, "."); len(text) <= maxLabel {
		return text
	}
	return ""
}

// unlabel returns the requests' ids in a label; none if it is not one of ours.
func unlabel(label string) (ids []json.RawMessage) {
	if label == "" || len(label) > maxLabel {
		return nil
	}
	for text := range strings.SplitSeq(label, ".") {
		id, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || !json.Valid(id) || !strings.ContainsAny(string(id[:1]), `"-0123456789`) {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// tellLost answers requests whose stream is no more.
func tellLost(ids []json.RawMessage) call.Answer {
	return call.Answer{Stream: func(out *mcp.EventStream) (call.Answer, error) {
		for _, id := range ids {
			if out.Message("", mcp.ErrorResponse(id, mcp.CodeInternalError, "the server lost track of this call, as when it is restarted; look whether it was carried out before trying again")) != nil {
				break
			}
		}
		return call.Answer{}, nil
	}}
}
