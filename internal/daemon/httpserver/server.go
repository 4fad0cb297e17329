// Package httpserver serves HTTP on inherited or own listeners with the limits
// a server on the internet needs, drains on shutdown, reports health, and turns
// waiting connections away when the program cannot start.
package httpserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// DrainTimeout is how long requests in flight may take to finish at shutdown.
const DrainTimeout = 30 * time.Second

// Serve serves handler on all listeners until ctx ends. Then it takes no new
// connections, which wait in the sockets' queues for the next process, calls
// drain, which may be nil and ends what would never end by itself, lets requests
// in flight finish within DrainTimeout, and closes connections once they are
// quiet. A listener has 8,192 connections at most. Headers get 10 s. Bodies, and what a client is to take, get 30 s and one
// more for every 16 KiB; between writes a response may take as long as it likes,
// since event streams do.
func Serve(ctx context.Context, listeners []net.Listener, handler http.Handler, drain func(), log *slog.Logger) error {
	return serve(ctx, listeners, handler, drain, log, usual)
}

func serve(ctx context.Context, listeners []net.Listener, handler http.Handler, drain func(), log *slog.Logger, p pace) error {
	d := &drainer{linger: p.linger, conns: map[net.Conn]time.Time{}, closing: make(chan struct{}), moved: make(chan struct{}, 1)}
	s := newServer(d.handler(p.bodies(handler)), log, p)
	s.ConnState = d.track
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- s.Serve(slowListener{netutil.LimitListener(l, p.most), p}) }()
	}
	select {
	case err := <-failed:
		s.Close()
		return err
	case <-ctx.Done():
	}
	close(d.closing)
	for _, l := range listeners {
		l.Close()
	}
	for range listeners { // else Shutdown may close them again, and return that error
		<-failed
	}
	if drain != nil {
		drain()
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainTimeout)
	defer cancel()
	d.wait(patience)
	if err := s.Shutdown(patience); err != nil {
		log.Warn("requests in flight did not finish in time", "error", err)
		return s.Close()
	}
	return nil
}

func newServer(handler http.Handler, log *slog.Logger, p pace) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: p.headers,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// How long Refuse waits for the first connection, for the next one, and in all. The
// second outlasts the pause of who asks once a second, and the third systemd's.
const (
	firstWait = 1500 * time.Millisecond
	nextWait  = 2 * time.Second
	wholeWait = 25 * time.Second
)

// Unavailable answers each request with 503 and message.
func Unavailable(message string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.Header().Set("Connection", "close")
		http.Error(w, message, http.StatusServiceUnavailable)
	})
}

// Refuse has the connections that wait on listeners answered by answer, see Unavailable, and
// returns when no more come, after 25 seconds at most. A socket-activated program that
// ends without it leaves them waiting, is started again for them at once, and at the
// start limit takes its socket down; one that ends too soon is started again for each, and
// says each time what is wrong. Without listeners there is nothing to wait for.
func Refuse(ctx context.Context, listeners []net.Listener, answer http.Handler, log *slog.Logger) {
	if len(listeners) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wholeWait)
	answered := make(chan struct{}, 1)
	go func() {
		defer cancel()
		for wait := firstWait; ; wait = nextWait {
			select {
			case <-answered:
			case <-time.After(wait):
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	refuse(ctx, listeners, answer, answered, log)
}

// RefuseUntil has all connections to listeners answered by answer until ctx ends.
func RefuseUntil(ctx context.Context, listeners []net.Listener, answer http.Handler, log *slog.Logger) {
	refuse(ctx, listeners, answer, nil, log)
}

// refuse tells answered of each answer, if it can take it.
func refuse(ctx context.Context, listeners []net.Listener, answer http.Handler, answered chan<- struct{}, log *slog.Logger) {
	s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer.ServeHTTP(w, r)
		select {
		case answered <- struct{}{}:
		default:
		}
	}), log, usual)
	for _, l := range listeners {
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				log.Error("cannot turn connections away", "error", err)
			}
		}()
	}
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.Shutdown(last)
	_ = s.Close()
}

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
