// Package health knows whether a new user would be served, and why not. It runs checks
// in the background and when somebody asks, keeps what they found, and tells it: to
// monitoring names and states alone, to the operator the cause and the cure.
//
//	background ─┐
//	/readyz ────┼─▶ a look at what is too old ─▶ Result ─▶ log, /readyz, fjmcpctl status
//	status ─────┘    one at a time for each check
//
// What is checked is in package checks; Fault has all cures.
package health

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// How often a check is looked at that fails: retryFirst after the first failure, twice
// as long after each further one, up to retryMost.
const (
	retryFirst = 5 * time.Second
	retryMost  = time.Minute
	// failedFresh is how long the operator is told of a failure without another look.
	failedFresh = 2 * time.Second
	// lookTimeout bounds one look, and how long the operator waits for all.
	lookTimeout = 15 * time.Second
	// pollTimeout is how long monitoring waits, which is for first looks, after a start.
	pollTimeout = 7 * time.Second
)

// Check is one thing that a new user needs.
type Check struct {
	// Name is its key in answers: lower-case words joined by hyphens.
	Name string
	// Run looks. Its error is a *Problem, or one that has no Fault. It must end with
	// its context, and is never run twice at the same time.
	Run func(context.Context) error
	// Every is how often it is looked at while it is well and nobody asks, give or take
	// a tenth; 0 means once.
	Every time.Duration
	// Fresh is how old a good result may be for who asks.
	Fresh time.Duration
	// Timeout bounds a look; 0 means 15 s.
	Timeout time.Duration
	// Polled: it costs so little that the operator has it looked at each time, and
	// monitoring once in Fresh. What is not is told to monitoring as it was found last.
	Polled bool
}

// Problem is what a check has found wrong.
type Problem struct {
	Fault Fault // which names the cure
	// Cause is for the operator: one sentence, without secrets.
	Cause string
	// Warning: it may be well for users all the same. Told to the operator, and no
	// failure.
	Warning bool
}

// Error is the cause.
func (p *Problem) Error() string { return p.Cause }

// State of a check.
type State string

// States.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failing State = "failing"
	Pending State = "pending" // not looked at yet
)

// Result is what a check found last.
type Result struct {
	Name    string    `json:"name"`
	State   State     `json:"state"`
	Since   time.Time `json:"since,omitzero"`   // of the state
	Checked time.Time `json:"checked,omitzero"` // when the last look was over
	Fault   Fault     `json:"fault,omitempty"`
	Cause   string    `json:"cause,omitempty"`
	Cure    string    `json:"cure,omitempty"` // the command or setting that mends it
}

// Config is what a Health is made of. Log and Now are required.
type Config struct {
	Checks  []Check // told in this order
	Systemd bool    // sessions are its units, so that cures name systemd's commands
	Log     *slog.Logger
	Now     func() time.Time
}

// Health is safe for concurrent use.
type Health struct {
	log     *slog.Logger
	now     func() time.Time
	systemd bool
	ctx     context.Context // of looks
	stop    context.CancelFunc
	work    sync.WaitGroup // looks under way
	wake    chan struct{}  // has Run look at what is due

	mu   sync.Mutex
	all  []*entry
	over bool // no look begins any more
}

// entry is one check with what is known of it.
type entry struct {
	Check
	result Result
	under  chan struct{} // a look under way, closed when it is over; nil without
	failed int           // looks in a row

	// asked counts calls of Again, answered those before the last look began.
	asked, answered int
	due             time.Time // for the background; zero for never
}

// New returns a Health that has looked at nothing yet. Run has it look by itself.
func New(cfg Config) *Health {
	h := &Health{log: cfg.Log, now: cfg.Now, systemd: cfg.Systemd, wake: make(chan struct{}, 1)}
	h.ctx, h.stop = context.WithCancel(context.Background())
	for _, c := range cfg.Checks {
		h.all = append(h.all, &entry{Check: c, due: h.now(), result: Result{Name: c.Name, State: Pending}})
	}
	return h
}

// Run looks in the background until ctx ends, and waits for looks under way then.
func (h *Health) Run(ctx context.Context) {
	defer h.work.Wait()
	defer h.close()
	for {
		pause := time.NewTimer(h.lookAtDue())
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-h.wake:
			pause.Stop()
		case <-pause.C:
		}
	}
}

func (h *Health) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.stop()
}

// lookAtDue begins what is due, and returns how long nothing else is.
func (h *Health) lookAtDue() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, pause := h.now(), time.Hour
	for _, e := range h.all {
		switch {
		case e.due.IsZero() || e.under != nil:
		case !now.Before(e.due):
			h.beginLocked(e)
		default:
			pause = min(pause, e.due.Sub(now))
		}
	}
	return pause
}

// Again has a check looked at once more, though not within 5 s of its last look unless the
// operator asks: something has happened that it must know of.
func (h *Health) Again(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.all {
		if e.Name == name {
			e.asked++
			e.due = e.result.Checked.Add(retryFirst)
			h.nudge()
		}
	}
}

func (h *Health) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Look has all checks looked at whose results are too old for the operator, and returns
// what is known when that is over or ctx has ended.
func (h *Health) Look(ctx context.Context) []Result {
	return h.look(ctx, lookTimeout, func(e *entry, age time.Duration) bool {
		fresh := e.Fresh
		if e.result.State != OK {
			fresh = min(fresh, failedFresh)
		}
		return e.asked != e.answered || e.Polled || age >= fresh
	})
}

// poll is Look for monitoring.
func (h *Health) poll(ctx context.Context) []Result {
	return h.look(ctx, pollTimeout, func(e *entry, age time.Duration) bool {
		return e.result.State == Pending || e.Polled && age >= e.Fresh
	})
}

func (h *Health) look(ctx context.Context, timeout time.Duration, tooOld func(*entry, time.Duration) bool) []Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for began := h.now(); ; {
		under := h.refresh(began, tooOld)
		for _, over := range under {
			select {
			case <-over:
			case <-ctx.Done():
			}
		}
		if len(under) == 0 || ctx.Err() != nil {
			return h.Known()
		}
	}
}

// refresh begins looks at what is too old for who has asked since began, and returns those
// to wait for.
func (h *Health) refresh(began time.Time, tooOld func(*entry, time.Duration) bool) (under []chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.all {
		answered := e.asked == e.answered && !e.result.Checked.Before(began)
		if answered || !tooOld(e, h.now().Sub(e.result.Checked)) {
			continue
		}
		if e.under == nil && !h.over {
			h.beginLocked(e)
		}
		if e.under != nil {
			under = append(under, e.under)
		}
	}
	return under
}

// Known is what the last look at each check found. It looks at nothing.
func (h *Health) Known() []Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Result, len(h.all))
	for i, e := range h.all {
		all[i] = e.result
	}
	return all
}

// beginLocked begins a look. None may be under way.
func (h *Health) beginLocked(e *entry) {
	over, asked := make(chan struct{}), e.asked
	e.under = over
	h.work.Go(func() {
		ctx, cancel := context.WithTimeout(h.ctx, cmp.Or(e.Timeout, lookTimeout))
		defer cancel()
		err := e.Run(ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		e.under = nil
		if h.ctx.Err() == nil { // else the failure may be our own end
			e.answered = asked
			h.recordLocked(e, err)
		}
		close(over)
		h.nudge()
	})
}

// recordLocked keeps what a look has found, and logs what has changed.
func (h *Health) recordLocked(e *entry, err error) {
	was, now := e.result, h.now()
	r := Result{Name: e.Name, State: OK, Since: was.Since, Checked: now}
	if err != nil {
		p := &Problem{Cause: err.Error()}
		errors.As(err, &p)
		r.State, r.Fault, r.Cause, r.Cure = Failing, p.Fault, p.Cause, p.Fault.Cure()
		if !h.systemd {
			r.Cure = WithoutSystemd(r.Cure)
		}
		if p.Warning {
			r.State = Warning
		}
	}
	if r.State != was.State {
		r.Since = now
	}
	e.result = r
	h.note(was, r)
	if e.failed++; r.State == OK {
		e.failed = 0
	}
	if e.asked == e.answered {
		e.due = e.next(now)
	} else {
		e.due = now.Add(retryFirst)
	}
}

// next is when the background looks again; the zero time for never.
func (e *entry) next(now time.Time) time.Time {
	pause := e.Every
	if e.failed > 0 {
		pause = min(cmp.Or(e.Every, retryMost), retryMost, retryFirst<<min(e.failed-1, 10))
	}
	if pause == 0 {
		return time.Time{}
	}
	return now.Add(pause*9/10 + rand.N(pause/5+1))
}

// note logs a change, and a cause that has become another.
func (h *Health) note(was, is Result) {
	switch {
	case is.State == was.State && is.Fault == was.Fault:
	case is.State == OK && was.State == Pending:
	case is.State == OK:
		h.log.Info("health check succeeds again", "check", is.Name)
	case is.State == Warning:
		h.log.Warn("health check warns", "check", is.Name, "error", is.Cause, "cure", is.Cure)
	default:
		h.log.Error("health check fails", "check", is.Name, "error", is.Cause, "cure", is.Cure)
	}
}

// Failed reports whether a check fails, or has yet to be looked at.
func Failed(all []Result) bool {
	return slices.ContainsFunc(all, func(r Result) bool { return r.failed() })
}

func (r Result) failed() bool { return r.State == Failing || r.State == Pending }
