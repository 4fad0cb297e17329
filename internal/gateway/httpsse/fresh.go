package httpsse

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/gateway/call"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
)

// maxFresh bounds the streams of one user that are open without a session.
const maxFresh = 16

// errTooManyStreams: the user has maxFresh of them.
var errTooManyStreams = &call.Fault{
	Status: http.StatusTooManyRequests, Code: mcp.CodeServerError, RetryAfter: 30 * time.Second,
	Text: "too many streams are open without a session; send initialize on them or close them",
}

// fresh is an open stream that has no session yet.
type fresh struct {
	id, user, client string
	reads            bool            // it was opened to read only, see model.Access
	streams          *eventstore.Hub // the session's, once there is one

	mu      sync.Mutex // held while the session begins
	session *session.Session
	begun   atomic.Bool // there is a session

	listeners int // under Handler.mu
}

func (f *fresh) of(access model.Access) bool {
	return f.user == access.User.ID && f.client == access.ClientID
}

// join adds a listener to the fresh stream of that id, making it if need be.
func (h *Handler) join(id string, access model.Access) (*fresh, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.fresh[id]
	switch {
	case f == nil && h.freshOfLocked(access.User.ID) >= maxFresh:
		return nil, errTooManyStreams
	case f == nil:
		f = &fresh{id: id, user: access.User.ID, client: access.ClientID, reads: access.ViewReadOnly, streams: session.NewStreams()}
		h.fresh[id] = f
	case !f.of(access):
		return nil, model.ErrNotFound
	case f.reads != access.ViewReadOnly:
		return nil, session.ErrOtherView
	}
	f.listeners++
	return f, nil
}

// freshOfLocked counts a user's streams that have no session.
func (h *Handler) freshOfLocked(user string) (n int) {
	for _, f := range h.fresh {
		if f.user == user && !f.begun.Load() {
			n++
		}
	}
	return n
}

// leave forgets a fresh stream with its last listener.
func (h *Handler) leave(f *fresh) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.listeners--; f.listeners == 0 {
		delete(h.fresh, f.id)
	}
}

// find returns the open fresh stream of that id, nil if there is none.
func (h *Handler) find(id string, access model.Access) *fresh {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.fresh[id]; f != nil && f.of(access) {
		return f
	}
	return nil
}

// begin starts the session of a fresh stream and returns the backend's response,
// which may be an error; then there is no session. When another request has
// started it, response is nil.
func (h *Handler) begin(ctx context.Context, f *fresh, access model.Access, initialize mcp.Message) (s *session.Session, response []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.session != nil {
		return f.session, nil, nil
	}
	f.session, response, err = h.Sessions.CreateOn(ctx, sessionID(f.id), f.streams, access, initialize)
	f.begun.Store(f.session != nil)
	return f.session, response, err
}

// replace starts a session for a client that takes itself for initialized: its
// connection broke and it came back without Last-Event-ID, which the TypeScript SDK
// never sends on this transport. It gets a session like the one it had.
//
// model.ErrNotFound: it never had one, or its last has ended.
func (h *Handler) replace(ctx context.Context, f *fresh, access model.Access) (*session.Session, error) {
	initialize, err := h.Sessions.LastInitialize(ctx, sessionPrefix, access)
	if err != nil {
		return nil, err
	}
	s, response, err := h.begin(ctx, f, access, initialize)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, &session.StartError{Reason: control.ReasonCrashed, Detail: "the backend refused the replayed initialize"}
	case response == nil: // another request was faster
		return s, nil
	}
	return s, s.Tell(ctx, mcp.Initialized())
}
