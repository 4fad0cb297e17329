package session

import (
	"slices"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

const (
	breakerWindow      = time.Minute // a backend that lives this long works
	breakerDeaths      = 3           // deaths within it that open the circuit
	breakerFirstWait   = 10 * time.Second
	breakerLongestWait = 5 * time.Minute
)

// breaker keeps what dies from being started over and over. It opens at the third
// death within a minute, and after that at each death of a backend that has not
// lived for one, for twice as long as before, at most 5 minutes. The zero value is
// closed. It is not safe for concurrent use.
type breaker struct {
	deaths []time.Time // within the window, while it is closed
	wait   time.Duration
	until  time.Time
}

// Left is how long the circuit stays open; 0 if it is closed.
func (b *breaker) Left(now time.Time) time.Duration { return max(0, b.until.Sub(now)) }

// Died counts a death of a backend that was started at the time born, and reports
// for how long the circuit opens; 0 if it does not.
func (b *breaker) Died(now, born time.Time) time.Duration {
	if now.Sub(born) >= breakerWindow || now.Sub(b.until) >= breakerLongestWait {
		b.wait = 0
	}
	b.deaths = slices.DeleteFunc(append(b.deaths, now), func(at time.Time) bool { return now.Sub(at) >= breakerWindow })
	if b.wait == 0 && len(b.deaths) < breakerDeaths {
		return 0
	}
	b.wait = min(max(2*b.wait, breakerFirstWait), breakerLongestWait)
	b.until, b.deaths = now.Add(b.wait), nil
	return b.wait
}

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
