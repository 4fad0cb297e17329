package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/tools/bench/stat"
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
	call := request{"tools/call", fmt.Sprintf(`{"name":%q,"arguments":{}}`, tool)}
	return []measure{
		{name: "Start", title: "Start of a session, to the answer to initialize", sessions: 1},
		{name: "Call", title: "Small call (" + tool + ")", sessions: 1, request: call},
		{name: "List", title: "tools/list", sessions: 1, request: request{"tools/list", "{}"}},
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

// starts begins and ends sessions. Only the beginning counts.
func starts(ctx context.Context, t Target, d time.Duration) (slice, error) {
	return repeat(ctx, d, func() (time.Duration, error) {
		s, took, err := t.Open(ctx)
		if err != nil {
			return 0, err
		}
		return took, s.Close()
	})
}

// calls has all sessions send at the same time, each one request after the other,
// and looks at the last response of each.
func calls(ctx context.Context, sessions []Session, r request, d time.Duration) (slice, error) {
	parts := make([]slice, len(sessions))
	var all errgroup.Group
	start := time.Now()
	for i, s := range sessions {
		all.Go(func() (err error) {
			var last []byte
			parts[i], err = repeat(ctx, d, func() (took time.Duration, err error) {
				last, took, err = s.Call(r)
				return took, err
			})
			if err != nil {
				return err
			}
			return check(last)
		})
	}
	err := all.Wait()
	total := slice{elapsed: time.Since(start)}
	for _, p := range parts {
		total.took = append(total.took, p.took...)
	}
	return total, err
}

// warmUp is how many calls a session makes before it is measured.
const warmUp = 20

// openAll begins n sessions and warms them up.
func openAll(ctx context.Context, t Target, n int, r request) ([]Session, error) {
	sessions := make([]Session, n)
	var all errgroup.Group
	all.SetLimit(openAtOnce)
	for i := range sessions {
		all.Go(func() (err error) {
			if sessions[i], _, err = t.Open(ctx); err != nil {
				return err
			}
			for range warmUp {
				got, _, err := sessions[i].Call(r)
				if err == nil {
					err = check(got)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, errors.Join(err, closeAll(sessions))
	}
	return sessions, nil
}

func closeAll(sessions []Session) error {
	var all errgroup.Group
	for _, s := range sessions {
		if s != nil {
			all.Go(s.Close)
		}
	}
	return all.Wait()
}

// series is what one target gave in one measure.
type series struct {
	took   []float64 // every single one, ns
	rounds []float64 // by round: the median in ns, or the rate
	failed error     // why there is nothing
}

// run measures all targets in turn, round after round, beginning with another
// one each time.
func (m measure) run(ctx context.Context, cfg Config, targets []Target, line func(Target, slice)) (map[string]*series, error) {
	results := map[string]*series{}
	open := map[string][]Session{}
	defer func() {
		for _, sessions := range open {
			_ = closeAll(sessions)
		}
	}()
	for _, t := range targets {
		results[t.Name] = &series{}
		if m.request == (request{}) {
			continue
		}
		open[t.Name], results[t.Name].failed = openAll(ctx, t, m.sessions, m.request)
	}
	for round := range cfg.Rounds {
		for i := range targets {
			t := targets[(i+round)%len(targets)]
			r := results[t.Name]
			if r.failed != nil {
				continue
			}
			var s slice
			if m.request == (request{}) {
				s, r.failed = starts(ctx, t, cfg.Slice)
			} else {
				s, r.failed = calls(ctx, open[t.Name], m.request, cfg.Slice)
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
		r.rounds = append(r.rounds, stat.Quantile(slices.Clone(s.took), 0.5))
	}
}
