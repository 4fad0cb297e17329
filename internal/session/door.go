package session

import (
	"errors"
	"sync"
	"time"
)

// ErrDraining says that the operator has the broker take no new calls.
var ErrDraining = errors.New("the broker takes no new calls")

// door is what every request passes on its way into a session, and what the
// operator shuts.
type door struct {
	mu     sync.Mutex
	since  time.Time // shut since; zero while open
	inside int       // requests between the door and a call in flight
}

// enter admits a request. leave is to be called when its call is in flight, or
// will not be.
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

// state is since when the door is shut, zero while it is open, and how many are on
// their way in.
func (d *door) state() (since time.Time, inside int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since, d.inside
}

// shut reports whether the door was open.
func (d *door) shut(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	open := d.since.IsZero()
	if open {
		d.since = now
	}
	return open
}

// open reports whether the door was shut.
func (d *door) open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	shut := !d.since.IsZero()
	d.since = time.Time{}
	return shut
}

// ShutDoor turns requests away with ErrDraining until OpenDoor, and reports whether
// it was open. What is in flight goes on: answers to a backend's questions and
// cancellations pass.
func (m *Manager) ShutDoor() bool { return m.door.shut(m.cfg.Now()) }

// OpenDoor ends ShutDoor, and reports whether it was shut.
func (m *Manager) OpenDoor() bool { return m.door.open() }

// Door is since when the door is shut, zero while it is open, and how many requests
// have passed it and are not in flight yet. When none has passed a shut door, those
// that Awake tells of are all there are.
func (m *Manager) Door() (shut time.Time, entering int) { return m.door.state() }
