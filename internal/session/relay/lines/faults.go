package lines

import (
	"log/slog"
	"sync"
	"time"
)

// interval is how often a fault that does not stop is logged.
const interval = time.Minute

// Fault logs what a peer does wrong again and again: the first time, then how often
// more, once a minute until it stops.
type Fault struct {
	Log  *slog.Logger
	Text string
	// AfterFunc is time.AfterFunc, but returns the timer's Stop.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)

	mu   sync.Mutex
	stop func() bool // nil while it is quiet
	more int
}

// Note notes one time, with details for the log.
func (f *Fault) Note(args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != nil {
		f.more++
		return
	}
	f.stop = f.AfterFunc(interval, f.sum)
	f.Log.Warn(f.Text, args...)
}

// sum ends an interval.
func (f *Fault) sum() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop == nil { // stopped meanwhile
		return
	}
	f.stop = nil
	if f.more > 0 {
		f.stop = f.AfterFunc(interval, f.sum)
	}
	f.tellLocked()
}

// Stop tells what has yet to be told.
func (f *Fault) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != nil {
		f.stop()
		f.stop = nil
	}
	f.tellLocked()
}

func (f *Fault) tellLocked() {
	if f.more > 0 {
		f.Log.Warn(f.Text, "more", f.more)
		f.more = 0
	}
}
