package session_test

import (
	"context"
	"strings"
	"testing"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// slow is a launcher whose starts take until they are let.
type slow struct {
	launchclient.Launcher
	begun, let chan struct{}
}

func (l slow) Start(ctx context.Context, spec launchclient.Spec) error {
	l.begun <- struct{}{}
	select {
	case <-l.let:
		return l.Launcher.Start(ctx, spec)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A start goes on when the client that wanted it has left, and is the next request's: also
// in a session that names none. The session's end ends it, and so does a client that has no
// session yet.
func TestSlowStartsGoOn(t *testing.T) {
	w := start(t, "standin")
	l := slow{w.cfg.Launcher, make(chan struct{}), make(chan struct{})}
	own := w.begin(w.access)
	w.must(w.cfg.Launcher.Stop(t.Context(), w.units()[0]))
	w.until("it is dormant", func() bool { return len(w.Awake()) == 0 })
	w.cfg.Launcher = l
	w.Manager = session.New(w.cfg)
	own, shared := w.again(own), w.shared(w.access)
	started := func() int { return strings.Count(w.log.String(), "FJMCP_EVENT=session_started") }

	leaves := func(begin func(context.Context) error) {
		t.Helper()
		ctx, leave := context.WithCancel(t.Context())
		answered := make(chan error)
		go func() { answered <- begin(ctx) }()
		<-l.begun
		leave()
		if err := <-answered; err == nil {
			t.Error("it was answered")
		}
	}
	asks := func(s *session.Session) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.Call(ctx, w.access, message(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
			return err
		}
	}
	for _, s := range []*session.Session{own, shared} {
		before := started()
		leaves(asks(s))
		l.let <- struct{}{}
		w.works(s, w.access)
		if n := started() - before; n != 1 {
			t.Errorf("%d units were started", n)
		}
	}

	w.must(l.Launcher.Stop(t.Context(), own.Awakened()))
	w.until("it is dormant", func() bool { return len(w.Awake()) == 1 })
	leaves(asks(own))
	w.must(w.End(t.Context(), own)) // although nobody lets it
	leaves(w.tryCreate)
	w.until("nothing starts any more", func() bool { return len(w.Awake()) == 1 })
}
