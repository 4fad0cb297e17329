package session

import (
	"context"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
)

// Confirmation is what raises the session's mode in the store for its unit of now, to
// be called later.
func (s *Session) Confirmation() func(context.Context) error {
	u := s.running()
	return func(ctx context.Context) error { return s.confirm(ctx, u) }
}

// HoldGate is a call that does not get to begin, until release.
func (s *Session) HoldGate() (release func()) {
	s.gate.RLock()
	return s.gate.RUnlock
}

// Loaded counts the sessions in memory.
func (m *Manager) Loaded() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}

// Waiting counts the requests that wait for a unit, or have one started.
func (s *Session) Waiting() int { return s.queue.Waiting() }

// Negotiate is what a backend is offered for a client's initialize, and what the client
// is told of the backend's answer.
func Negotiate(initialize, answer mcp.Message) (offer, told mcp.Message) {
	offer = offered(initialize)
	told, err := agreed(offer, answer)
	if err != nil {
		panic(err)
	}
	return offer, told
}

// Awakened is the id of the session's running unit.
func (s *Session) Awakened() string { return s.running().ID() }

// Bound is the key of the limits that the session's running unit has, by the session's
// word and by the unit's; both "none" without one.
func (s *Session) Bound() (session, unit string) {
	u := s.running()
	if u == nil {
		return "none", "none"
	}
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	return s.limits.key, u.LimitsKey()
}
