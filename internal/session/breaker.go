package session

import (
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// ReasonCrashLoop: the backend has ended by itself too often to be started now.
const ReasonCrashLoop control.Reason = "crash_loop"

// admit refuses to start the session while its circuit is open.
func (s *Session) admit() error {
	m := s.manager
	m.mu.Lock()
	left := s.circuit.Left(m.cfg.Now())
	m.mu.Unlock()
	if left == 0 {
		return nil
	}
	return &StartError{Reason: ReasonCrashLoop, Detail: "the backend keeps ending by itself", RetryAfter: left}
}

// died counts a unit's end if its backend died of itself.
func (s *Session) died(u *unit.Unit, reason control.Reason) time.Duration {
	if reason != control.ReasonCrashed {
		return 0
	}
	m := s.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.circuit.Died(m.cfg.Now(), u.Born())
}
