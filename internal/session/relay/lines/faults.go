package lines

import (
	"log/slog"
	"sync"
	"time"
)

// interval is how often a fault that does not stop is logged.
const interval = time.Minute

// Faults logs what a peer does wrong again and again: each fault the first time, then how
// often more, once a minute until it stops.
type Faults struct {
	Log *slog.Logger
	// AfterFunc is time.AfterFunc, but returns the timer's Stop.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)

	mu     sync.Mutex
	recent map[string]*fault // by what is logged of it
}

// fault is one that has come within the last interval.
type fault struct {
	stop func() bool // its end
	more int
}

// Note notes a fault one time, with details for the log.
func (f *Faults) Note(text string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.recent[text]; r != nil {
		r.more++
		return
	}
	if f.recent == nil {
		f.recent = map[string]*fault{}
	}
	f.recent[text] = &fault{stop: f.AfterFunc(interval, func() { f.sum(text) })}
	f.Log.Warn(text, args...)
}

// sum ends an interval.
func (f *Faults) sum(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.recent[text]
	switch {
	case r == nil: // stopped meanwhile
	case r.more == 0:
		delete(f.recent, text)
	default:
		r.stop = f.AfterFunc(interval, func() { f.sum(text) })
		f.tellLocked(text, r)
	}
}

// Stop tells what has yet to be told.
func (f *Faults) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for text, r := range f.recent {
		r.stop()
		f.tellLocked(text, r)
	}
	clear(f.recent)
}

func (f *Faults) tellLocked(text string, r *fault) {
	if r.more > 0 {
		f.Log.Warn(text, "more", r.more)
		r.more = 0
	}
}
