package main

import (
	"context"
	"errors"
	"slices"
	"time"
)

// measure is one thing measured of every target.
type measure struct {
	name     string // of its benchmark
	title    string
	sessions int     // that send at the same time
	request  request // zero: sessions are begun and ended
	rate     bool    // what counts is how many a second, else how long each takes
}

func measures(tool string) []measure {
	call := toolCall(tool)
	return []measure{
		{name: "Start", title: "Start of a session, to the answer to initialize", sessions: 1},
		{name: "Call", title: "Small call (" + tool + ")", sessions: 1, request: call},
		{name: "List", title: "tools/list", sessions: 1, request: toolsList},
		{name: "Sessions8", title: "Small calls of 8 sessions at once", sessions: 8, request: call, rate: true},
		{name: "Sessions64", title: "Small calls of 64 sessions at once", sessions: 64, request: call, rate: true},
	}
}

// slice is what one target did in one slice of time.
type slice struct {
	took    []float64 // each, ns
	elapsed time.Duration
}

// rate is how many were done a second.
func (s slice) rate() float64 { return float64(len(s.took)) / s.elapsed.Seconds() }

// repeat does one thing after the other, once at least, until the time is over.
func repeat(ctx context.Context, d time.Duration, do func() (time.Duration, error)) (slice, error) {
	var s slice
	start := time.Now()
	for {
		took, err := do()
		if err != nil {
			return s, err
		}
		s.took = append(s.took, float64(took))
		if s.elapsed = time.Since(start); s.elapsed >= d || ctx.Err() != nil {
			return s, ctx.Err()
		}
	}
}

// calls has all sessions send at the same time, each one request after the other,
// and looks at the last response of each.
func calls(ctx context.Context, sessions []session, r request, d time.Duration) (slice, error) {
	parts := make([]slice, len(sessions))
	start := time.Now()
	err := atOnce(len(sessions), len(sessions), func(i int) (err error) {
		var last []byte
		parts[i], err = repeat(ctx, d, func() (took time.Duration, err error) {
			last, took, err = sessions[i].Call(r)
			return took, err
		})
		if err != nil {
			return err
		}
		return check(last)
	})
	total := slice{elapsed: time.Since(start)}
	for _, p := range parts {
		total.took = append(total.took, p.took...)
	}
	return total, err
}

const (
	openAtOnce = 8  // clients that begin a session at the same time
	warmUp     = 20 // calls that a session makes before it is measured
)

// openAll begins n sessions and warms them up.
func openAll(ctx context.Context, t target, n int, r request) ([]session, error) {
	sessions := make([]session, n)
	err := atOnce(n, openAtOnce, func(i int) (err error) {
		if sessions[i], _, err = t.open(ctx); err != nil {
			return err
		}
		for range warmUp {
			if _, _, err := checked(sessions[i], r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, closeAll(sessions))
	}
	return sessions, nil
}

func closeAll(sessions []session) error {
	return atOnce(len(sessions), openAtOnce, func(i int) error {
		if sessions[i] == nil {
			return nil
		}
		return sessions[i].Close()
	})
}

// series is what one target gave in one measure.
type series struct {
	took   []float64 // every single one, ns
	rounds []float64 // by round: the median in ns, or the rate
	failed error     // why there is nothing
}

// run measures all targets in turn, round after round, beginning with another
// one each time.
func (m measure) run(ctx context.Context, cfg config, targets []target, line func(target, slice)) (map[string]*series, error) {
	results := map[string]*series{}
	open := map[string][]session{}
	defer func() {
		for _, sessions := range open {
			_ = closeAll(sessions)
		}
	}()
	for _, t := range targets {
		results[t.name] = &series{}
		if m.request == (request{}) {
			continue
		}
		open[t.name], results[t.name].failed = openAll(ctx, t, m.sessions, m.request)
	}
	for round := range cfg.rounds {
		for i := range targets {
			t := targets[(i+round)%len(targets)]
			r := results[t.name]
			if r.failed != nil {
				continue
			}
			var s slice
			if m.request == (request{}) {
				s, r.failed = repeat(ctx, cfg.slice, func() (time.Duration, error) { return startOnce(ctx, t) })
			} else {
				s, r.failed = calls(ctx, open[t.name], m.request, cfg.slice)
			}
			if r.failed == nil {
				r.add(m, s)
				line(t, s)
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return results, nil
}

func (r *series) add(m measure, s slice) {
	r.took = append(r.took, s.took...)
	if m.rate {
		r.rounds = append(r.rounds, s.rate())
	} else {
		r.rounds = append(r.rounds, quantile(slices.Clone(s.took), 0.5))
	}
}
