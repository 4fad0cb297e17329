package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// Between Expect and Restore's end whoever needs a session waits for it: taken for
// dormant it would wake in a second unit.
func TestRequestsWaitForTheirSession(t *testing.T) {
	w, k := lasting(t, "standin")
	s := w.begin(w.access)
	before := w.units()
	w.Shutdown(t.Context())
	w.Manager = session.New(w.cfg)
	w.Expect()

	gone, leave := context.WithCancel(t.Context())
	leave()
	for name, request := range map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := w.Get(ctx, s.ID(), w.access); return err },
		"Shared": func(ctx context.Context) error { _, err := w.Shared(ctx, w.access); return err },
		"List":   func(ctx context.Context) error { _, err := w.List(ctx); return err },
		"Create": func(ctx context.Context) error {
			_, _, err := w.Create(ctx, w.access, message(beginning))
			return err
		},
	} {
		if err := request(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("%s does not wait: %v", name, err)
		}
	}
	found := make(chan *session.Session)
	waits := &waiting{Context: t.Context(), begun: make(chan struct{})}
	go func() {
		s, err := w.Get(waits, s.ID(), w.access)
		if err != nil {
			t.Error(err)
		}
		found <- s
	}()
	<-waits.begun
	w.must(w.Restore(t.Context(), k.passed(t), none))
	w.works(<-found, w.access)
	if now := w.units(); len(now) != 1 || now[0] != before[0] {
		t.Errorf("the units were %q and are %q", before, now)
	}
}

// waiting is a context that says when it is waited for.
type waiting struct {
	context.Context
	once  sync.Once
	begun chan struct{}
}

func (w *waiting) Done() <-chan struct{} {
	w.once.Do(func() { close(w.begun) })
	return w.Context.Done()
}
