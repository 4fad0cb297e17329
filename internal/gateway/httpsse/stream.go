package httpsse

import (
	"context"
	"errors"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
)

// Listen answers GET with an event stream: a new one, or the rest of the one that
// Last-Event-ID names. It lasts until the session ends, the client leaves, or
// another connection takes its place; at shutdown until no response is to come.
func (h *Handler) Listen(r *http.Request, access model.Access) (call.Answer, error) {
	id, seen := cutEventID(r.Header.Get("Last-Event-ID"))
	if id == "" {
		id = newStreamID()
	}
	streams, leave, err := h.enter(r.Context(), id, seen, access)
	if err != nil {
		return call.Answer{}, err
	}
	f := streams.Listen(position(streams, seen))
	return call.Answer{Done: leave, Stream: func(out *mcp.EventStream) (call.Answer, error) {
		if out.Endpoint(eventID(id, seen), h.PublicURL.Path+mcp.PathMessages+"?"+streamParam+"="+id) != nil {
			f.Close()
			return call.Answer{}, nil
		}
		out.Prefix = id + "-"
		f.Serve(r.Context(), out, h.KeepAlive, h.calls.over)
		return call.Answer{}, nil
	}}, nil
}

// position is where a client continues that has seen an event last: at the beginning
// if none, and after all that was sent if nothing is known of that event.
func position(streams *eventstore.Hub, seen string) int {
	if seen == "" {
		return 0
	}
	if l, next, ok := streams.After(seen); ok && l == streams.Own() {
		return next
	}
	return -1
}

// enter finds what to follow. A client that has seen messages has had a session,
// which must still be there; others come before their session begins.
func (h *Handler) enter(ctx context.Context, id, seen string, access model.Access) (*eventstore.Hub, func(), error) {
	s, err := h.Sessions.Get(ctx, sessionID(id), access)
	if err == nil {
		return s.Streams(), func() {}, nil
	}
	if seen != "" || !errors.Is(err, model.ErrNotFound) {
		return nil, nil, err
	}
	f, err := h.join(id, access)
	if err != nil {
		return nil, nil, err
	}
	return f.streams, func() { h.leave(f) }, nil
}
