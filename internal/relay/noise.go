package relay

import (
	"log/slog"
	"sync"
	"time"
)

// noiseInterval is how often what the child does wrong again and again is logged.
const noiseInterval = time.Minute

// noise logs the first of many like faults, then their number once an interval
// until they stop.
type noise struct {
	log   *slog.Logger
	after func(time.Duration, func()) func() bool
	text  string

	mu        sync.Mutex
	stopTimer func() bool // nil while it is quiet
	more      int
}

func (n *noise) note(args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopTimer != nil {
		n.more++
		return
	}
	n.stopTimer = n.after(noiseInterval, n.sum)
	n.log.Warn(n.text, args...)
}

// sum ends an interval.
func (n *noise) sum() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopTimer == nil { // stopped meanwhile
		return
	}
	n.stopTimer = nil
	if n.more > 0 {
		n.stopTimer = n.after(noiseInterval, n.sum)
	}
	n.tell()
}

// stop tells what has yet to be told.
func (n *noise) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopTimer != nil {
		n.stopTimer()
		n.stopTimer = nil
	}
	n.tell()
}

func (n *noise) tell() {
	if n.more > 0 {
		n.log.Warn(n.text, "more", n.more)
		n.more = 0
	}
}
