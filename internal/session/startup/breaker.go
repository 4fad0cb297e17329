package startup

import (
	"slices"
	"time"
)

const (
	window      = time.Minute // a backend that lives this long works
	mostDeaths  = 3           // deaths within it that open the circuit
	firstWait   = 10 * time.Second
	longestWait = 5 * time.Minute
)

// Breaker keeps what dies from being started over and over. It opens at the third
// death within a minute, and after that at each death of a backend that has not
// lived for one, for twice as long as before, at most 5 minutes. The zero value is
// closed. It is not safe for concurrent use.
type Breaker struct {
	deaths []time.Time // within the window, while it is closed
	wait   time.Duration
	until  time.Time
}

// Left is how long the circuit stays open; 0 if it is closed.
func (b *Breaker) Left(now time.Time) time.Duration { return max(0, b.until.Sub(now)) }

// Died counts a death of a backend that was started at the time born, and reports
// for how long the circuit opens; 0 if it does not.
func (b *Breaker) Died(now, born time.Time) time.Duration {
	if now.Sub(born) >= window || now.Sub(b.until) >= longestWait {
		b.wait = 0
	}
	b.deaths = slices.DeleteFunc(append(b.deaths, now), func(at time.Time) bool { return now.Sub(at) >= window })
	if b.wait == 0 && len(b.deaths) < mostDeaths {
		return 0
	}
	b.wait = min(max(2*b.wait, firstWait), longestWait)
	b.until, b.deaths = now.Add(b.wait), nil
	return b.wait
}
