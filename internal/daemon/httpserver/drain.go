package httpserver

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// drainer empties a server without breaking a request. http.Server.Shutdown closes
// idle connections at once; a client that sends its next request in that moment
// loses it, and cannot know whether it was carried out. So connections are first
// served once more, with Connection: close, and closed by us only when they have
// been quiet for a while.
type drainer struct {
	linger  time.Duration // how long a connection must have been quiet
	closing chan struct{} // closed when the drain begins

	mu    sync.Mutex
	conns map[net.Conn]time.Time // when it became idle; zero while at work
	moved chan struct{}          // gets a value after each change
}

func newDrainer(linger time.Duration) *drainer {
	return &drainer{linger: linger, closing: make(chan struct{}), conns: map[net.Conn]time.Time{}, moved: make(chan struct{}, 1)}
}

// handler tells clients not to use their connections again once the drain has
// begun.
func (d *drainer) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-d.closing:
			w.Header().Set("Connection", "close")
		default:
		}
		h.ServeHTTP(w, r)
	})
}

// track is an http.Server.ConnState hook.
func (d *drainer) track(c net.Conn, state http.ConnState) {
	d.mu.Lock()
	switch state {
	case http.StateNew, http.StateIdle:
		d.conns[c] = time.Now()
	case http.StateActive:
		d.conns[c] = time.Time{}
	case http.StateHijacked, http.StateClosed:
		delete(d.conns, c)
	}
	d.mu.Unlock()
	select {
	case d.moved <- struct{}{}:
	default:
	}
}

// wait returns when all connections are gone or quiet, or ctx ends.
func (d *drainer) wait(ctx context.Context) {
	for {
		rest := d.rest()
		if rest <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-d.moved:
		case <-time.After(rest):
		}
	}
}

// rest is how long the connections must stay as they are for the drain to end.
func (d *drainer) rest() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	var rest time.Duration
	for _, idle := range d.conns {
		if idle.IsZero() {
			return DrainTimeout
		}
		rest = max(rest, d.linger-time.Since(idle))
	}
	return rest
}
