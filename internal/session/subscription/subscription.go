package subscription

import (
	"context"
	"maps"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

const (
	maxPending      = MaxURIs + 3         // notifications that wait for one listener
	maxNotification = 2*MaxURILength + 64 // bytes; a longer one is not passed on
)

// Subscription is one listener.
type Subscription struct {
	set      *Set
	honoured Filter        // its URIs for Honoured alone
	changed  chan struct{} // has room for one: something is pending
	done     chan struct{}

	// under set.mu
	uris    map[string]bool
	order   []string          // keys of pending, oldest first
	pending map[string][]byte // by what it is about
}

// Honoured is what of the filter the backend tells.
func (s *Subscription) Honoured() Filter { return s.honoured }

// Next waits for the next notification of the backend, which comes as it is. What
// was said again before it was taken comes once. ErrEnded: nothing will come.
func (s *Subscription) Next(ctx context.Context) ([]byte, error) {
	for {
		if raw := s.pop(); raw != nil {
			return raw, nil
		}
		select {
		case <-s.changed:
		case <-s.done:
			return nil, ErrEnded
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s *Subscription) pop() []byte {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	if len(s.order) == 0 {
		return nil
	}
	raw := s.pending[s.order[0]]
	delete(s.pending, s.order[0])
	s.order = s.order[1:]
	return raw
}

// putLocked has a notification wait, in the place of an earlier one about the same. One
// too many takes the oldest's place.
func (s *Subscription) putLocked(key string, raw []byte) {
	if _, ok := s.pending[key]; !ok {
		if len(s.order) == maxPending {
			delete(s.pending, s.order[0])
			s.order = s.order[1:]
		}
		s.order = append(s.order, key)
	}
	s.pending[key] = raw
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// wantsLocked reports whether a notification is listened to; uri is that of an update.
func (s *Subscription) wantsLocked(method, uri string) bool {
	switch method {
	case mcp.MethodToolsChanged:
		return s.honoured.Tools
	case mcp.MethodPromptsChanged:
		return s.honoured.Prompts
	case mcp.MethodResourcesChanged:
		return s.honoured.Resources
	case mcp.MethodResourceUpdated:
		return s.hearsLocked(uri)
	}
	return false
}

// hearsLocked reports whether a listener to some resource is to be told of uri, which
// may be part of that resource.
func (s *Subscription) hearsLocked(uri string) bool {
	if s.uris[uri] {
		return true
	}
	for i, c := range []byte(uri) {
		if (c == '/' || c == '?' || c == '#') && (s.uris[uri[:i]] || s.uris[uri[:i+1]]) {
			return true
		}
	}
	return false
}

// Close ends the subscription. The backend is told in the background what nobody
// listens to any more.
func (s *Subscription) Close() {
	s.set.mu.Lock()
	open, left := s.set.all[s], slices.Collect(maps.Keys(s.uris))
	s.set.endLocked(s)
	s.set.mu.Unlock()
	if open && len(left) > 0 {
		go s.set.release(left)
	}
}
