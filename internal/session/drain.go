package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
	"github.com/fjmcp/fjmcp-broker/internal/audit"
)

// ErrDraining says that the operator has the broker take no new calls.
var ErrDraining = errors.New("the broker takes no new calls")

// door is what every request passes on its way into a session, and what the
// operator closes.
type door struct {
	mu     sync.Mutex
	since  time.Time // closed since; zero while open
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

// closed is since when the door is closed, zero while it is open, and how many
// are on their way in.
func (d *door) closed() (since time.Time, inside int) {
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

// open reports whether the door was closed.
func (d *door) open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	closed := !d.since.IsZero()
	d.since = time.Time{}
	return closed
}

// drainLook is how often Drain looks whether calls are in flight.
const drainLook = 50 * time.Millisecond

// Drain lets no further request begin, and waits until no call is in flight, or
// ctx ends. What is in flight goes on: answers to the backend's questions and
// cancellations pass. A drain ends by Undrain or with the process.
func (m *Manager) Drain(ctx context.Context) (admin.Drain, error) {
	if m.door.shut(m.cfg.Now()) {
		m.cfg.Audit.Event(ctx, audit.Event{Kind: audit.Drained, Outcome: "ok"})
	}
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for {
		since, inside := m.door.closed() // first: who leaves here is in flight there
		calls := m.calls()
		if inside+len(calls) == 0 || since.IsZero() || ctx.Err() != nil {
			return admin.Drain{Since: since, Calls: calls}, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Undrain ends a drain, if there is one.
func (m *Manager) Undrain(ctx context.Context) {
	if m.door.open() {
		m.cfg.Audit.Event(ctx, audit.Event{Kind: audit.Undrained, Outcome: "ok"})
	}
}

// DrainingSince is since when requests are turned away; zero if they are not.
func (m *Manager) DrainingSince() time.Time {
	since, _ := m.door.closed()
	return since
}

// calls are those in flight in all units, the oldest first.
func (m *Manager) calls() []admin.Call {
	all := []admin.Call{}
	for _, o := range m.members() {
		all = append(all, o.session.callsIn(o.unit)...)
	}
	slices.SortFunc(all, func(a, b admin.Call) int { return a.Began.Compare(b.Began) })
	return all
}
