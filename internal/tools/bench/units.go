package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// How many sessions live while something is measured.
const (
	someLive = 200
	mostLive = 300
)

// ahead is how long after its login a client's first request comes.
const ahead = 250 * time.Millisecond

// unitReport is what was measured of units.
type unitReport struct {
	version       string
	exposure      float64 // of a session's unit, as systemd-analyze says it
	starts        []string
	logins        []string
	none, some    results // with no other live session, with someLive
	sessions      memory  // of each fjmcp-session
	single, lived *series // calls, with one live session and with mostLive
}

// units measures how long sessions take to start and to wake in their units, what one
// keeps for itself, and what three hundred live ones do to a call. The measure of all is
// a plain fork of the same child in the same container, in turn with what it is
// compared to.
func units(ctx context.Context, s *system) {
	r := &unitReport{version: s.version, none: results{}, some: results{}}
	need(s.startForker(ctx))
	w := must(s.connect(ctx))
	woken, _, err := w.begin()
	need(err)
	starts := s.starts(ctx, r, woken)
	fmt.Fprintln(s.cfg.progress, "measuring starts")
	need(r.none.measure(ctx, s.cfg.rounds, append(starts, s.logins(r)...)))
	fmt.Fprintln(s.cfg.progress, "measuring a call")
	r.single = must(w.calls(ctx, []*httpSession{woken}))
	fmt.Fprintf(s.cfg.progress, "measuring with %d live sessions\n", someLive)
	live := must(s.live(ctx, someLive))
	need(r.some.measure(ctx, s.cfg.rounds, starts))
	r.sessions = must(memoryOf(ctx, s.C.Shell, "$(pidof fjmcp-session)"))
	fmt.Fprintf(s.cfg.progress, "measuring with %d live sessions\n", mostLive)
	r.lived = must(w.calls(ctx, append(live, must(s.live(ctx, mostLive-someLive))...)))
	r.write(s.cfg.out)
}

// measure has all take their turns. Each has to work.
func (r results) measure(ctx context.Context, rounds int, turns []turn) error {
	if err := r.inTurn(ctx, rounds, turns, func(string, slice) {}); err != nil {
		return err
	}
	for name, s := range r {
		if s.failed != nil {
			return fmt.Errorf("%s: %w", name, s.failed)
		}
	}
	return nil
}

// before names the plain forks before the turns of a measure.
func before(name string) string { return "plain fork before: " + name }

// turn takes a plain fork first, after the same preparation: a machine that has rested,
// or has just done something else, is slower at whatever it is asked next.
func (s *system) turn(name string, prepare func(context.Context) error, do func(context.Context) (time.Duration, error)) turn {
	after := func(do func(context.Context) (time.Duration, error)) func(context.Context) (slice, error) {
		return func(ctx context.Context) (slice, error) {
			if err := prepare(ctx); err != nil {
				return slice{}, err
			}
			return once(do(ctx))
		}
	}
	return turn{{before(name), after(s.fork)}, {name, after(do)}}
}

// starts are the measures that need no login: beginning a session, and waking one.
func (s *system) starts(ctx context.Context, r *unitReport, woken *httpSession) []turn {
	out := must(s.C.Run(ctx, "fjmcpctl", "sessions", "list", "--json"))
	var all []admin.Session
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		need(fmt.Errorf("want one session, got %s", out))
	}
	out = must(s.C.Run(ctx, "systemd-analyze", "security", "--no-pager", all[0].Unit))
	if _, err := fmt.Sscan(out[strings.LastIndex(out, ": ")+1:], &r.exposure); err != nil {
		need(fmt.Errorf("systemd-analyze says no exposure:\n%s", out))
	}
	var turns []turn
	add := func(launcher string, put func(context.Context) error) {
		start, wake := "start, launcher "+launcher, "wake, launcher "+launcher
		r.starts = append(r.starts, start, wake)
		turns = append(turns,
			s.turn(start, put, func(context.Context) (time.Duration, error) { return woken.wire.once() }),
			s.turn(wake, func(ctx context.Context) error {
				if err := s.sleep(ctx, all[0].ID); err != nil {
					return err
				}
				return put(ctx)
			}, func(context.Context) (time.Duration, error) {
				_, took, err := checked(woken, ping)
				return took, err
			}))
	}
	add("warm", s.healthz)
	add("cold", s.stopLauncher)
	return turns
}

// logins are the measures of the first session after a login.
func (s *system) logins(r *unitReport) []turn {
	var turns []turn
	add := func(name string, wait time.Duration, put func(context.Context) error) {
		name = "after a login, launcher " + name
		r.logins = append(r.logins, name)
		turns = append(turns, s.turn(name, func(ctx context.Context) error {
			defer time.Sleep(wait)
			return put(ctx)
		}, func(ctx context.Context) (time.Duration, error) {
			w := must(must(s.logIn(ctx)).connect(ctx))
			defer w.conn.Close()
			time.Sleep(wait)
			return w.once()
		}))
	}
	add("warm", ahead, s.healthz)
	add("warm, at once", 0, s.healthz)
	add("cold", ahead, s.stopLauncher)
	add("cold, at once", 0, s.stopLauncher)
	return turns
}

// byFork compares with the plain forks of the same rounds.
func byFork(r results, name string) spread { return r.ratio(name, before(name), (*series).medians) }

func (r *unitReport) figures() []figure {
	all := []figure{{"exposure of a session's unit", r.exposure, "", "at most", 0.6}}
	for _, name := range r.starts {
		none, some := r.none[name].all(), r.some[name].all()
		all = append(all,
			figure{name + ", by a plain fork", byFork(r.none, name).Median, "times", "at most", 6},
			figure{fmt.Sprintf("%s, with %d live sessions by with none", name, someLive), spreadOf(some).Median / spreadOf(none).Median, "times", "at most", 2.5})
	}
	for _, name := range r.logins {
		if !strings.HasSuffix(name, "at once") {
			all = append(all, figure{name + ", by a plain fork", byFork(r.none, name).Median, "times", "at most", 0.5})
		}
	}
	private, pss := spreadOf(r.sessions.private), spreadOf(r.sessions.pss)
	return append(all,
		figure{fmt.Sprintf("fjmcp-session, private, median of %d", len(r.sessions.private)), private.Median, "MiB", "at most", 4},
		figure{"the same, lower quartile", private.Low, "MiB", "", 0}, figure{"the same, upper quartile", private.High, "MiB", "", 0},
		figure{"fjmcp-session, proportional, median", pss.Median, "MiB", "", 0},
		figure{"the same, lower quartile", pss.Low, "MiB", "", 0}, figure{"the same, upper quartile", pss.High, "MiB", "", 0},
		figure{fmt.Sprintf("small call, with %d live sessions by with one", mostLive),
			spreadOf(r.lived.all()).Median / spreadOf(r.single.all()).Median, "times", "at most", 2})
}

func (r *unitReport) write(out io.Writer) {
	fmt.Fprintf(out, "\nUnder the systemd launcher, in a container, %s\n", r.version)
	table := func(title string, of results, names []string) {
		var rows []row
		for _, name := range names {
			rows = append(rows, row{name, name, byFork(of, name)}, row{before(name), before(name), spreadOf(nil)})
		}
		of.table(out, title, "÷ a plain fork (quartiles of the rounds)", rows)
	}
	table("To the first answer, no other live session", r.none, append(r.starts, r.logins...))
	table(fmt.Sprintf("To the first answer, %d live sessions", someLive), r.some, r.starts)
	results{"one": r.single, "most": r.lived}.table(out, fmt.Sprintf("Small call at a low load, one each %v", callEvery), "",
		[]row{{"one live session", "one", spreadOf(nil)}, {fmt.Sprintf("%d live sessions", mostLive), "most", spreadOf(nil)}})
	writeFigures(out, "Of units", r.figures())
}
