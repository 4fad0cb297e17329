package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// reluctant is a launcher that does not stop a unit before it is told to go on.
type reluctant struct {
	launchclient.Launcher
	asked chan string // gets the unit's id
	goOn  chan struct{}
	gone  string // the unit that Touch finds going
}

// Stop implements launchclient.Launcher.
func (l *reluctant) Stop(ctx context.Context, id string) error {
	select {
	case l.asked <- id:
		<-l.goOn
	case <-l.goOn:
	}
	return l.Launcher.Stop(ctx, id)
}

// Touch implements launchclient.Launcher.
func (l *reluctant) Touch(ctx context.Context, id string) error {
	if l.gone == id {
		return launchclient.ErrGone
	}
	return l.Launcher.Touch(ctx, id)
}

// A request that waits for a unit's end waits no longer than its client does, however
// long the end takes: for the end of its session's last unit, of one that makes room
// for it, of its own that did not begin, and of one that it ends.
func TestRequestsDoNotOutliveTheirClients(t *testing.T) {
	type request func(context.Context) error
	for name, tc := range map[string]struct {
		backend string
		prepare func(w *world, l *reluctant) request
	}{
		"the last unit": {"standin", func(w *world, l *reluctant) request {
			s := w.begin(w.access)
			l.gone = w.units()[0]
			w.advance(w.cfg.IdleTimeout / 2)
			return func(ctx context.Context) error {
				_, err := s.Call(ctx, w.access, message(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
				return err
			}
		}},
		"room": {"standin", func(w *world, _ *reluctant) request {
			w.begin(w.access)
			return w.tryCreate
		}},
		"a backend that ends at once": {"/bin/false", func(w *world, _ *reluctant) request {
			return w.tryCreate
		}},
		"an end for good": {"standin", func(w *world, _ *reluctant) request {
			s := w.begin(w.access)
			return func(ctx context.Context) error { return errors.Join(w.End(ctx, s), context.Cause(ctx)) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, tc.backend)
			l := &reluctant{Launcher: w.cfg.Launcher, asked: make(chan string), goOn: make(chan struct{})}
			w.cfg.Launcher, w.cfg.PerUser = l, 1
			w.Manager = session.New(w.cfg)
			ask := tc.prepare(w, l)
			ctx, leave := context.WithCancel(t.Context())
			answered := make(chan error, 1)
			go func() { answered <- ask(ctx) }()
			select {
			case <-l.asked:
			case err := <-answered:
				t.Fatalf("it did not wait: %v", err)
			}
			leave()
			select {
			case err := <-answered:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("it waits on although its client has left")
			}
			close(l.goOn)
			w.until("the unit is gone", func() bool { return len(w.units()) == 0 && len(w.Awake()) == 0 })
		})
	}
}

func (w *world) tryCreate(ctx context.Context) error {
	_, _, err := w.Create(ctx, w.access, message(beginning))
	return err
}
