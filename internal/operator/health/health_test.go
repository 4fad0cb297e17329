package health

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
	"testing/synctest"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

var discard = slog.New(slog.DiscardHandler)

func of(log *slog.Logger, checks ...Check) *Health {
	return New(Config{Checks: checks, Log: log, Now: time.Now, Systemd: true})
}

func well(context.Context) error { return nil }

func ask(t *testing.T, h *Health, path string) (status int, body string) {
	t.Helper()
	mux := http.NewServeMux()
	h.Routes(mux)
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	return rec.Code, rec.Body.String()
}

func TestMonitoringIsToldNoCause(t *testing.T) {
	h := of(discard,
		Check{Name: "store", Run: well},
		Check{Name: "public-url", Run: func(context.Context) error { return &Problem{Cause: "refused", Warning: true} }},
		Check{Name: "launcher", Run: func(context.Context) error { return errors.New("dial /run/x: refused") }})
	for _, path := range []string{"/healthz", "/readyz"} {
		status, body := ask(t, h, path)
		if want := `{"launcher":"failing","public-url":"ok","status":"failing","store":"ok"}` + "\n"; status != http.StatusServiceUnavailable || body != want {
			t.Errorf("%s: got %d %s", path, status, body)
		}
	}
	if status, body := ask(t, h, "/livez"); status != http.StatusOK || body != `{"status":"ok"}`+"\n" {
		t.Errorf("got %d %s", status, body)
	}
}

func TestTheOperatorIsToldAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		h := of(discard, Check{Name: "store", Run: func(context.Context) error { return &Problem{Fault: StoreFails, Cause: "the disk is full"} }})
		h.Look(t.Context())
		time.Sleep(time.Hour)
		got := h.Look(t.Context())
		want := Result{Name: "store", State: Failing, Since: began, Checked: time.Now(), Fault: StoreFails, Cause: "the disk is full", Cure: StoreFails.Cure()}
		if len(got) != 1 || got[0] != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

// However many ask, a part is looked at once in Fresh, and the log tells what has changed.
func TestManyAskAndOneLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		var cause atomic.Pointer[error]
		log := &testlog.Buffer{}
		h := of(slog.New(slog.NewTextHandler(log, nil)), Check{Name: "launcher", Fresh: time.Second, Polled: true, Run: func(context.Context) error {
			looks.Add(1)
			if err := cause.Load(); err != nil {
				return *err
			}
			return nil
		}})
		hundred := func(want int) {
			t.Helper()
			before := looks.Load()
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if status, body := ask(t, h, "/healthz"); status != want {
						t.Errorf("got %d %s, want %d", status, body, want)
					}
				})
			}
			all.Wait()
			if n := looks.Load() - before; n != 1 {
				t.Errorf("looked %d times for 100 requests", n)
			}
			time.Sleep(time.Second)
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
	})
}

// What is dear is looked at once for monitoring, however old it gets, and for the operator
// when it is too old.
func TestMonitoringCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		h := of(discard, Check{Name: "forge", Fresh: 10 * time.Second, Run: func(context.Context) error { looks++; return nil }})
		for range 3600 {
			ask(t, h, "/healthz")
			time.Sleep(time.Second)
		}
		if looks != 1 {
			t.Errorf("looked %d times", looks)
		}
		for range 60 {
			h.Look(t.Context())
			time.Sleep(time.Second)
		}
		if looks != 7 {
			t.Errorf("looked %d times", looks)
		}
	})
}

// Who waits for a look that does not end is answered, and neither he nor who left has it
// fail for the others.
func TestHangingLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		h := of(discard, Check{Name: "store", Run: func(ctx context.Context) error { <-answer; return ctx.Err() }})
		ctx, leave := context.WithCancel(t.Context())
		leave()
		began := time.Now()
		if all := h.Look(ctx); all[0].State != Pending || time.Since(began) != 0 {
			t.Errorf("got %v after %v", all, time.Since(began))
		}
		if status, body := ask(t, h, "/readyz"); status != http.StatusServiceUnavailable || time.Since(began) != pollTimeout {
			t.Errorf("got %d %s after %v", status, body, time.Since(began))
		}
		close(answer)
		if status, body := ask(t, h, "/readyz"); status != http.StatusOK {
			t.Errorf("got %d %s", status, body)
		}
	})
}

// In the background a check is looked at more often while it fails, and again as soon as
// something has happened.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var looks []time.Time
		var fails bool
		h := of(discard,
			Check{Name: "x", Every: time.Hour, Run: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				looks = append(looks, time.Now())
				if fails {
					return errors.New("no")
				}
				return nil
			}},
			Check{Name: "once", Run: well})
		ctx, end := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); h.Run(ctx) }()
		began := time.Now()
		between := func(what string, n int, least, most time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(looks) != n {
				t.Fatalf("%s: %d looks, want %d: %v", what, len(looks), n, looks)
			}
			if d := looks[n-1].Sub(began); d < least || d > most {
				t.Errorf("%s: after %v", what, d)
			}
			began = looks[n-1]
		}
		between("at once", 1, 0, 0)
		time.Sleep(70 * time.Minute)
		between("well", 2, 53*time.Minute, 67*time.Minute)
		mu.Lock()
		fails = true
		mu.Unlock()
		h.Again("x")
		between("asked for", 3, 0, 20*time.Minute)
		for n, pause := range []time.Duration{5, 10, 20, 40, 60, 60} {
			pause *= time.Second
			time.Sleep(pause*11/10 + time.Nanosecond - time.Since(began))
			between("failing", 4+n, pause*9/10, pause*11/10)
		}
		end()
		<-over
		h.Again("x")
		if all := h.Look(t.Context()); all[0].State != Failing || all[1].State != OK || len(looks) != 9 {
			t.Errorf("got %v after %d looks", all, len(looks))
		}
	})
}

// What Again asks for during a look is not answered by that look.
func TestAgainDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		var h *Health
		h = of(discard, Check{Name: "backend", Fresh: time.Hour, Run: func(context.Context) error {
			if looks++; looks == 1 {
				h.Again("backend")
			}
			return nil
		}})
		if h.Look(t.Context()); looks != 2 {
			t.Errorf("looked %d times", looks)
		}
	})
}

// However often something asks for another look, there are some seconds between two.
func TestAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		var h *Health
		h = of(discard, Check{Name: "backend", Run: func(context.Context) error {
			looks++
			h.Again("backend")
			return nil
		}})
		ctx, end := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); h.Run(ctx) }()
		for range 600 { // a minute
			h.Again("backend")
			time.Sleep(100 * time.Millisecond)
		}
		end()
		<-over
		if looks < 12 || looks > 13 {
			t.Errorf("looked %d times in a minute", looks)
		}
	})
}

// A look that our own end cuts off says nothing.
func TestEndDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &testlog.Buffer{}
		h := of(slog.New(slog.NewTextHandler(log, nil)), Check{Name: "x", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		ctx, end := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); h.Run(ctx) }()
		synctest.Wait()
		end()
		<-over
		if all := h.Look(t.Context()); all[0].State != Pending || log.String() != "" {
			t.Errorf("got %v, %s", all, log)
		}
	})
}

func TestEveryFaultHasACure(t *testing.T) {
	for fault, cure := range cures {
		if cure == "" || strings.ContainsAny(cure, "\n") {
			t.Errorf("%s: %q", fault, cure)
		}
	}
}

// Where sessions are no units, the log and the answers send nobody to systemd.
func TestTheLogNamesSystemdWhereItRuns(t *testing.T) {
	for _, systemd := range []bool{true, false} {
		var log testlog.Buffer
		h := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now, Systemd: systemd, Checks: []Check{
			{Name: "launcher", Run: func(context.Context) error { return &Problem{Fault: LauncherFails, Cause: "it is away"} }},
			{Name: "audit", Run: func(context.Context) error { return &Problem{Fault: AuditFails, Cause: "full", Warning: true} }},
		}})
		said := strings.Join(curesOf(h.Look(t.Context())), " ")
		said += log.String()
		for _, word := range []string{"systemctl", "journalctl"} {
			if strings.Contains(said, word) != systemd {
				t.Errorf("with systemd %v: %s", systemd, said)
			}
		}
		if strings.Count(log.String(), "cure=") != 2 {
			t.Errorf("the log says %s", log.String())
		}
	}
}

func curesOf(all []Result) (cures []string) {
	for _, r := range all {
		cures = append(cures, r.Cure)
	}
	return cures
}

// No cure is told in a container that only systemd could carry out.
func TestCuresWithoutSystemd(t *testing.T) {
	for fault, cure := range cures {
		got := WithoutSystemd(cure)
		for _, word := range []string{"systemctl", "journalctl", ".service", ".socket", "/etc/fjmcp", "/run/fjmcp", "/var/lib/fjmcp"} {
			if got == "" || strings.Contains(got, word) {
				t.Errorf("%s names %s: %q", fault, word, got)
			}
		}
	}
}
