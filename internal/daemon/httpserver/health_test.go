package httpserver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

func ask(t *testing.T, h http.Handler) (status int, body string) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil))
	return rec.Code, rec.Body.String()
}

func TestHealthHidesTheCause(t *testing.T) {
	h := Health(discard,
		Check{"store", func(context.Context) error { return nil }},
		Check{"launcher", func(context.Context) error { return errors.New("dial /run/x: refused") }})
	status, body := ask(t, h)
	if want := `{"launcher":"failing","status":"failing","store":"ok"}` + "\n"; status != http.StatusServiceUnavailable || body != want {
		t.Fatalf("got %d %s", status, body)
	}
}

// However many ask, a part is looked at once a second, and the log tells what has
// changed.
func TestHealthIsLookedAtOnceASecond(t *testing.T) {
	var clock, looks atomic.Int64
	var cause atomic.Pointer[error]
	log := &testlog.Buffer{}
	h := newHealth(slog.New(slog.NewTextHandler(log, nil)), func() time.Time { return time.Unix(0, clock.Load()) }, []Check{{"launcher", func(context.Context) error {
		looks.Add(1)
		if err := cause.Load(); err != nil {
			return *err
		}
		return nil
	}}})
	hundred := func(want int) {
		t.Helper()
		before := looks.Load()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if status, body := ask(t, h); status != want {
					t.Errorf("got %d %s, want %d", status, body, want)
				}
			})
		}
		all.Wait()
		if n := looks.Load() - before; n != 1 {
			t.Errorf("looked %d times for 100 requests", n)
		}
		clock.Add(int64(healthPeriod))
	}
	says := func(failed, again int) {
		t.Helper()
		if all := log.String(); strings.Count(all, "level=ERROR") != failed || strings.Count(all, "succeeds again") != again || strings.Count(all, "\n") != failed+again {
			t.Errorf("want %d failures and %d ends of one in the log:\n%s", failed, again, all)
		}
	}
	hundred(200)
	says(0, 0)
	refused := errors.New("dial /run/x: refused")
	cause.Store(&refused)
	hundred(503)
	hundred(503)
	says(1, 0)
	cause.Store(nil)
	hundred(200)
	hundred(200)
	says(1, 1)
	cause.Store(&refused)
	hundred(503)
	says(2, 1)
}

// A client that leaves does not make a part fail for the others, and one that waits
// for another's look may leave.
func TestHealthOutlivesWhoAsks(t *testing.T) {
	looking, answer := make(chan struct{}), make(chan struct{})
	h := Health(discard, Check{"store", func(ctx context.Context) error {
		close(looking)
		<-answer
		return ctx.Err()
	}})
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan struct{})
	go func() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/healthz", nil))
		close(first)
	}()
	<-looking
	leave()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/healthz", nil)) // returns
	close(answer)
	<-first
	if status, body := ask(t, h); status != http.StatusOK {
		t.Errorf("got %d %s", status, body)
	}
}
