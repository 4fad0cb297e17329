package httpserver

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

const (
	healthPeriod  = time.Second     // one look serves all requests for so long
	healthTimeout = 5 * time.Second // of one look at all parts
)

// Check is one part whose health is reported under Name.
type Check struct {
	Name string
	Run  func(context.Context) error
}

// Health answers GET /healthz: 200 {"status":"ok","store":"ok",…} or 503 with
// "failing" for each part that fails. Anybody may ask, so the parts are looked at once
// a second at most, however many ask. The log tells when a part begins to fail, with
// the cause, and when it works again.
func Health(log *slog.Logger, checks ...Check) http.Handler {
	return newHealth(log, time.Now, checks)
}

type health struct {
	log    *slog.Logger
	now    func() time.Time
	checks []Check

	turn    chan struct{} // holds a value while nobody uses what follows
	until   time.Time     // when report becomes too old
	report  map[string]string
	failing map[string]bool
}

func newHealth(log *slog.Logger, now func() time.Time, checks []Check) *health {
	h := &health{log: log, now: now, checks: checks, turn: make(chan struct{}, 1), failing: map[string]bool{}}
	h.turn <- struct{}{}
	return h
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch report := h.latest(r.Context()); {
	case report == nil:
	case report["status"] == "ok":
		WriteJSON(w, http.StatusOK, report)
	default:
		WriteJSON(w, http.StatusServiceUnavailable, report)
	}
}

// latest is a report that is not too old; nil when ctx has ended before there is one.
func (h *health) latest(ctx context.Context) map[string]string {
	select {
	case <-h.turn:
	case <-ctx.Done():
		return nil
	}
	defer func() { h.turn <- struct{}{} }()
	if !h.now().Before(h.until) {
		h.report = h.look(context.WithoutCancel(ctx)) // that one leaves says nothing of the parts
		h.until = h.now().Add(healthPeriod)
	}
	return h.report
}

// look runs all checks. The map it returns is not changed any more.
func (h *health) look(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	report := map[string]string{"status": "ok"}
	for _, c := range h.checks {
		err := c.Run(ctx)
		h.note(ctx, c.Name, err)
		report[c.Name] = "ok"
		if err != nil {
			report[c.Name], report["status"] = "failing", "failing"
		}
	}
	return report
}

// note logs what has changed.
func (h *health) note(ctx context.Context, part string, err error) {
	was := h.failing[part]
	h.failing[part] = err != nil
	switch {
	case err != nil && !was:
		h.log.ErrorContext(ctx, "health check fails", "part", part, "error", err)
	case err == nil && was:
		h.log.InfoContext(ctx, "health check succeeds again", "part", part)
	}
}
