package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// However a unit ends, its backend sees the end of its input, although the descriptor
// store has a copy of it.
func TestBackendsSeeTheEndOfTheirInput(t *testing.T) {
	w, _ := lasting(t, "standin")
	ended := func(n int) {
		t.Helper()
		w.until("the backend has ended", func() bool { return len(w.units()) == 0 })
		if got := strings.Count(w.log.String(), "its input has ended"); got != n {
			t.Errorf("%d backends have seen the end of their input, want %d", got, n)
		}
	}
	s := w.begin(w.access)
	w.must(w.cfg.Launcher.Stop(t.Context(), w.units()[0])) // as the reap timer does
	ended(1)
	w.works(s, w.access)
	w.must(w.End(t.Context(), s))
	ended(2)
	if strings.Contains(w.log.String(), "session_failed") {
		t.Error("an end was taken for a failure")
	}
}

// What a user has ends: a session, a start that is under way, and a unit that waits. Of
// another user nothing does.
func TestEndUser(t *testing.T) {
	w := start(t, "standin")
	ctx, bob := t.Context(), teststore.LogIn(t, w.store, "bob", w.now())
	w.begin(w.access)
	w.Prestart(w.access)
	w.until("a unit waits", func() bool { return w.Waiting() == 1 && len(w.units()) == 2 })
	if n, err := w.EndUser(ctx, bob.User.ID, session.Revoked); n != 0 || err != nil || len(w.units()) != 2 {
		t.Errorf("of another user %d ended, %v; %d units", n, err, len(w.units()))
	}

	l := slow{w.cfg.Launcher, make(chan struct{}), make(chan struct{})}
	w.cfg.Launcher = l
	second := session.New(w.cfg)
	t.Cleanup(func() { second.Shutdown(context.Background()) })
	created := make(chan error)
	go func() {
		_, _, err := second.Create(ctx, w.access, message(initialize))
		created <- err
	}()
	<-l.begun
	_, _, err := w.store.BlockUser(ctx, w.login.User.Subject, "root")
	w.must(err)
	if n, err := w.EndUser(ctx, w.login.User.ID, session.Blocked); n != 1 || err != nil {
		t.Errorf("%d ended, %v", n, err)
	}
	if _, err := second.EndUser(ctx, w.login.User.ID, session.Blocked); err != nil {
		t.Error(err)
	}
	if err := <-created; !errors.Is(err, model.ErrRevoked) {
		t.Errorf("the start: %v", err)
	}
	if left := w.units(); len(left) != 0 || w.Waiting() != 0 {
		t.Errorf("left: %v", left)
	}
	if n := strings.Count(w.log.String(), "FJMCP_OUTCOME=blocked"); n != 1 {
		t.Errorf("%d events", n)
	}
}
