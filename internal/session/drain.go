package session

import (
	"errors"
	"sync"
	"time"
)

// ErrDraining says that the operator has the broker take no new calls.
var ErrDraining = errors.New("the broker takes no new calls")

// door is what every request passes on its way into a session, and what the
// operator shuts. It is open at first, and safe for concurrent use.
type door struct {
	now    func() time.Time
	mu     sync.Mutex
	since  time.Time // shut since; zero while open
	inside int       // requests between the door and a call in flight
}

// enter admits a request, or returns ErrDraining. leave is to be called when the
// request's call is in flight, or will not be.
func (d *door) enter() (leave func(), err error) {
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

// Door is since when the door is shut, zero while it is open, and how many requests
// have passed it and are not in flight yet. When none has passed a shut door, those
// that Manager.Awake tells of are all there are.
func (d *door) Door() (shut time.Time, entering int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since, d.inside
}

// ShutDoor turns requests away with ErrDraining until OpenDoor, and reports whether
// it was open. What is in flight continues: answers to a backend's questions and
// cancellations pass.
func (d *door) ShutDoor() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	open := d.since.IsZero()
	if open {
		d.since = d.now()
	}
	return open
}

// OpenDoor ends ShutDoor, and reports whether the door was shut.
func (d *door) OpenDoor() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	shut := !d.since.IsZero()
	d.since = time.Time{}
	return shut
}
