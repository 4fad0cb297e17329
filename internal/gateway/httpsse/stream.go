package httpsse

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

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
		f.Serve(r.Context(), out, call.KeepAlive, h.drained(r.Context(), streams))
		return call.Answer{}, nil
	}}, nil
}

// drained is closed when the broker ends and no response is to come on these streams any
// more, or ctx ends.
func (h *Handler) drained(ctx context.Context, streams *eventstore.Hub) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-h.Draining:
			_ = streams.Filled(ctx)
		case <-ctx.Done():
		}
	}()
	return over
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

// sessionPrefix begins the ids of sessions of this transport.
const sessionPrefix = "sse-"

// newStreamID makes a stream's id. Like a session's it is no credential: only the
// user and client that opened the stream can use it.
func newStreamID() string { return rand.Text() }

// isStreamID reports whether id has the form of those of newStreamID.
func isStreamID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// sessionID is the id of a stream's session. A URL, which proxies log, does not
// tell it, and it is the same after a restart.
func sessionID(streamID string) string {
	sum := sha256.Sum256([]byte(streamID))
	return sessionPrefix + hex.EncodeToString(sum[:])
}

// eventID names an event of a stream, "" the endpoint event that begins it.
func eventID(streamID, event string) string {
	if event == "" {
		return streamID
	}
	return streamID + "-" + event
}

// cutEventID is the reverse of eventID; the stream's id is "" when it is none of
// ours.
func cutEventID(id string) (streamID, event string) {
	streamID, event, _ = strings.Cut(id, "-")
	if !isStreamID(streamID) {
		return "", ""
	}
	return streamID, event
}
