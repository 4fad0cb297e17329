package subscription

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// Limits of one Set.
const (
	MaxSubscriptions = 100
	MaxURIs          = 1000 // of all subscriptions together
	MaxURILength     = 4096 // bytes

	askTimeout = 10 * time.Second // for the backend to answer one request
)

// Errors of Set and Subscription.
var (
	// ErrTooMany: the session has as many subscriptions, or as many resources in
	// them, as it may have.
	ErrTooMany = errors.New("too many subscriptions in this session")
	// ErrURITooLong: a URI has more than MaxURILength bytes.
	ErrURITooLong = errors.New("the URI of a resource is too long")
	// ErrEnded: the subscription was closed or the session has ended.
	ErrEnded = errors.New("the subscription has ended")
)

// Filter is what a subscription is to: changes of lists, and updates of resources
// (2026-07-28, schema SubscriptionFilter).
type Filter struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
}

// Ask makes a request of a running backend, mcp.MethodSubscribe or
// mcp.MethodUnsubscribe. unit.ErrRefused: the backend says no; any other error: it could
// not be asked.
type Ask func(ctx context.Context, method, uri string) error

// Set is the subscriptions of one session.
type Set struct {
	// talk is held while the backend is asked, so that it is asked in order.
	talk    sync.Mutex
	ask     Ask             // under talk; nil before the first backend
	telling map[string]bool // under talk; resources the backend tells of; false where it may
	can     unit.Supports   // under talk; what the backend tells

	mu    sync.Mutex
	all   map[*Subscription]bool
	ended bool
}

// NewSet returns a Set without a backend.
func NewSet() *Set { return &Set{all: map[*Subscription]bool{}} }

// Attach is for a fresh backend, which it has tell of what is listened to as far as it can.
// The error is ask's, unless the backend refuses.
func (s *Set) Attach(ctx context.Context, ask Ask, can unit.Supports) error {
	s.talk.Lock()
	defer s.talk.Unlock()
	s.ask, s.can, s.telling = ask, can, map[string]bool{}
	if !can.ResourcesSubscribe {
		return nil
	}
	for uri := range s.listened() {
		if err := s.applyLocked(ctx, uri); err != nil && !errors.Is(err, unit.ErrRefused) {
			return err
		}
	}
	return nil
}

// listened are the resources that somebody listens to.
func (s *Set) listened() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]bool{}
	for sub := range s.all {
		maps.Copy(all, sub.uris)
	}
	return all
}

// applyLocked has the backend tell of uri if somebody listens, and else not. A backend
// that does not answer is taken to refuse this and all others.
func (s *Set) applyLocked(ctx context.Context, uri string) error {
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	wanted := s.wanted(uri)
	tells, asked := s.telling[uri]
	if !wanted && asked {
		delete(s.telling, uri) // whatever it answers, nobody will hear it
		return s.ask(bounded, mcp.MethodUnsubscribe, uri)
	}
	if !wanted || tells {
		return nil
	}
	if !s.can.ResourcesSubscribe {
		return unit.ErrRefused
	}
	s.telling[uri] = false
	err := s.ask(bounded, mcp.MethodSubscribe, uri)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		s.can.ResourcesSubscribe, err = false, unit.ErrRefused
	}
	switch {
	case err == nil:
		s.telling[uri] = true
	case errors.Is(err, unit.ErrRefused):
		delete(s.telling, uri)
	}
	return err
}

func (s *Set) wanted(uri string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.all {
		if sub.uris[uri] {
			return true
		}
	}
	return false
}

// Subscribe opens a subscription to what of f can be told: changes of all lists that the
// backend has, since what may be seen of them changes as well. Errors:
// ErrTooMany, ErrURITooLong, ErrEnded, or the backend's. Attach comes first.
func (s *Set) Subscribe(ctx context.Context, f Filter) (*Subscription, error) {
	s.talk.Lock()
	defer s.talk.Unlock()
	if !s.can.ResourcesSubscribe {
		f.URIs = nil
	}
	sub := &Subscription{set: s, changed: make(chan struct{}, 1), done: make(chan struct{}), uris: map[string]bool{}, pending: map[string][]byte{}}
	for _, uri := range f.URIs {
		sub.uris[uri] = true
	}
	sub.honoured = Filter{Tools: f.Tools && s.can.Tools, Prompts: f.Prompts && s.can.Prompts, Resources: f.Resources && s.can.Resources}
	if err := s.add(sub); err != nil {
		return nil, err
	}
	for _, uri := range f.URIs {
		err := s.applyLocked(ctx, uri)
		switch {
		case errors.Is(err, unit.ErrRefused):
			s.mu.Lock()
			delete(sub.uris, uri)
			s.mu.Unlock()
		case err != nil:
			sub.Close()
			return nil, err
		case !slices.Contains(sub.honoured.URIs, uri):
			sub.honoured.URIs = append(sub.honoured.URIs, uri)
		}
	}
	return sub, nil
}

// add counts a new subscription.
func (s *Set) add(sub *Subscription) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return ErrEnded
	}
	total := len(sub.uris)
	for other := range s.all {
		total += len(other.uris)
	}
	if len(s.all) >= MaxSubscriptions || total > MaxURIs {
		return ErrTooMany
	}
	for uri := range sub.uris {
		if len(uri) > MaxURILength {
			return ErrURITooLong
		}
	}
	s.all[sub] = true
	return nil
}

// release tells the backend which resources have no listener any more.
func (s *Set) release(uris []string) {
	s.talk.Lock()
	defer s.talk.Unlock()
	for _, uri := range uris {
		if err := s.applyLocked(context.Background(), uri); err != nil && !errors.Is(err, unit.ErrRefused) {
			return // it has ended, or does not listen
		}
	}
}

// Publish gives what the backend says besides all calls to those who listen to it. It
// does not wait.
func (s *Set) Publish(m mcp.Message) {
	if len(m.Raw) > maxNotification {
		return
	}
	var uri string
	if m.Method == mcp.MethodResourceUpdated {
		uri = m.ParamString("uri")
	}
	raw := bytes.Clone(m.Raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.all {
		if sub.wantsLocked(m.Method, uri) {
			sub.putLocked(m.Method+" "+uri, raw)
		}
	}
}

// Close ends all subscriptions, and those to come.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for sub := range s.all {
		s.endLocked(sub)
	}
}

// endLocked ends a subscription.
func (s *Set) endLocked(sub *Subscription) {
	if s.all[sub] {
		delete(s.all, sub)
		close(sub.done)
	}
}
