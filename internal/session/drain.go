package session

import (
	"errors"
	"sync"
	"time"
)

// ErrDraining says that the operator has the broker take no new calls.
var ErrDraining = errors.New("the broker takes no new calls")

// door is what every request passes on its way into a session, and what the
// operator shuts. The zero value is open. It is safe for concurrent use.
type door struct {
	mu     sync.Mutex
	since  time.Time // shut since; zero while open
	inside int       // requests between the door and a call in flight
}

// Enter admits a request, or returns ErrDraining. leave is to be called when the
// request's call is in flight, or will not be.
func (d *door) Enter() (leave func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.since.IsZero() {
		return nil, ErrDraining
	}
	d.inside++
	return func() {
		d.mu.Lock()
		d.inside--
		d.mu.Unlock()
	}, nil
}

// State is since when the door is shut, zero while it is open, and how many are on
// their way in. When none is in a shut door, the calls in flight are all there are.
func (d *door) State() (since time.Time, inside int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since, d.inside
}

// Shut turns requests away until Open, and reports whether the door was open.
func (d *door) Shut(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	open := d.since.IsZero()
	if open {
		d.since = now
	}
	return open
}

// Open ends Shut, and reports whether the door was shut.
func (d *door) Open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	shut := !d.since.IsZero()
	d.since = time.Time{}
	return shut
}
