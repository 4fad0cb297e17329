package session

import (
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/unit"
)

// ReasonCrashLoop: the backend has ended by itself too often to be started now.
const ReasonCrashLoop control.Reason = "crash_loop"

const (
	crashWindow = time.Minute // a backend that lives this long works
	crashLimit  = 3           // deaths within it that open the circuit
	firstWait   = 10 * time.Second
	longestWait = 5 * time.Minute
)

// circuit keeps a session whose backend keeps dying from being started over and
// over. It opens at the third death within a minute, and after that at each death
// of a backend that has not lived for one, for twice as long as before.
type circuit struct {
	deaths []time.Time // within the window, while it is closed
	wait   time.Duration
	until  time.Time
}

// left is how long the circuit stays open.
func (c *circuit) left(now time.Time) time.Duration { return max(0, c.until.Sub(now)) }

// died counts a death of a backend that was started at the time born, and reports
// for how long the circuit opens; 0 if it does not.
func (c *circuit) died(now, born time.Time) time.Duration {
	if now.Sub(born) >= crashWindow || now.Sub(c.until) >= longestWait {
		c.wait = 0
	}
	var recent []time.Time
	for _, at := range append(c.deaths, now) {
		if now.Sub(at) < crashWindow {
			recent = append(recent, at)
		}
	}
	c.deaths = recent
	if c.wait == 0 && len(recent) < crashLimit {
		return 0
	}
	c.wait = min(max(2*c.wait, firstWait), longestWait)
	c.until, c.deaths = now.Add(c.wait), nil
	return c.wait
}

// admit refuses to start the session while its circuit is open.
func (s *Session) admit() error {
	m := s.manager
	m.mu.Lock()
	left := s.circuit.left(m.cfg.Now())
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
	return s.circuit.died(m.cfg.Now(), u.Born())
}
