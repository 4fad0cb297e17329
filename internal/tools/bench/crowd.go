package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	crowdStarts = 100 // over which PID 1's time is taken
	tick        = 10 * time.Millisecond
	part        = 10 // a restart is measured with the crowd's tenth part, too
)

// crowd measures with n live sessions at once.
func crowd(ctx context.Context, s *system, n int) error {
	noneCPU, noneTook, err := s.startCost(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.cfg.progress, "starting %d sessions\n", n)
	live, err := s.live(ctx, n/part)
	if err != nil {
		return err
	}
	some, err := s.restart(ctx, live)
	if err != nil {
		return err
	}
	more, err := s.live(ctx, n-len(live))
	if err != nil {
		return err
	}
	allCPU, allTook, err := s.startCost(ctx)
	if err != nil {
		return err
	}
	all, err := s.restart(ctx, append(live, more...))
	if err != nil {
		return err
	}
	held, err := memoryOf(ctx, s.C.Shell, "1 $(systemctl show --value -p MainPID fjmcp-broker.service)")
	if err != nil {
		return err
	}
	byNone, growth := figure{"the same, by that with none", allCPU / noneCPU, "times", "", 0},
		figure{"more for each live session", (allCPU - noneCPU) / float64(n), "ms", "", 0}
	if strings.HasPrefix(s.version, "systemd 252") {
		growth.bound, growth.limit = "at most", 0.05
	} else {
		byNone.bound, byNone.limit = "at most", 2
	}
	writeFigures(s.cfg.out, fmt.Sprintf("%d live sessions at once, %s", n, s.version), append([]figure{
		{"PID 1's time for a start and a stop, none live", noneCPU, "ms", "", 0},
		{"the same, all live", allCPU, "ms", "", 0}, byNone, growth,
		{"a start to its answer, mean, none live", noneTook, "ms", "", 0}, {"the same, all live", allTook, "ms", "", 0},
		{"sessions lost by restarts", float64(some.lost + all.lost), "", "at most", 0},
		{"restart, by one with a tenth live", all.done.Seconds() / some.done.Seconds(), "times", "at most", part},
		{"PID 1, resident", held.resident[0], "MiB", "", 0}, {"fjmcp-broker, resident", held.resident[1], "MiB", "", 0},
	}, append(some.figures("a tenth"), all.figures("all")...)...))
	return nil
}

// startCost begins sessions and ends them, one after the other. It returns PID 1's own
// processor time for one, and how long its start took, in ms.
func (s *system) startCost(ctx context.Context) (pid1, took float64, err error) {
	w, err := s.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer w.conn.Close()
	before, err := s.pid1Time(ctx)
	if err != nil {
		return 0, 0, err
	}
	var sum time.Duration
	for range crowdStarts {
		took, err := w.once()
		if err != nil {
			return 0, 0, err
		}
		sum += took
	}
	after, err := s.pid1Time(ctx)
	return (after - before).Seconds() * 1000 / crowdStarts, sum.Seconds() * 1000 / crowdStarts, err
}

// pid1Time is the processor time that PID 1 has used, without its children's.
func (s *system) pid1Time(ctx context.Context) (time.Duration, error) {
	out, err := s.C.Shell(ctx, "awk '{print $14 + $15}' /proc/1/stat")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(out))
	return time.Duration(n) * tick, err
}

// restart is one of the broker.
type restart struct {
	done  time.Duration // until systemctl returned
	first time.Duration // until a session has answered a request that came meanwhile
	every time.Duration // until all have answered
	lost  int           // sessions that have not
}

func (r restart) figures(live string) []figure {
	return []figure{
		{"restart with " + live + " live, done", r.done.Seconds(), "s", "at most", 3},
		{"to the first answer", r.first.Seconds(), "s", "", 0}, {"until all have answered", r.every.Seconds(), "s", "", 0},
	}
}

// restart restarts the broker while a client waits for an answer, and then has every
// session answer.
func (s *system) restart(ctx context.Context, sessions []*httpSession) (r restart, err error) {
	pid, err := s.Property(ctx, "fjmcp-broker.service", "MainPID")
	if err != nil {
		return r, err
	}
	began := time.Now()
	stopped := make(chan error, 1)
	go func() {
		_, err := s.C.Run(ctx, "systemctl", "restart", "fjmcp-broker.service")
		r.done = time.Since(began)
		stopped <- err
	}()
	if _, err := s.C.Shell(ctx, "while [ -e /proc/"+pid+" ]; do sleep 0.01; done"); err != nil {
		return r, err
	}
	if err := sessions[0].ping(ctx); err != nil { // its connection waits in the socket for the next broker
		return r, err
	}
	r.first = time.Since(began)
	if err := <-stopped; err != nil {
		return r, err
	}
	var lost atomic.Int64
	_ = atOnce(len(sessions), 4, func(i int) error {
		if sessions[i].ping(ctx) != nil {
			lost.Add(1)
		}
		return nil
	})
	r.every, r.lost = time.Since(began), int(lost.Load())
	return r, ctx.Err()
}

// ping has a session answer that has no connection.
func (s *httpSession) ping(ctx context.Context) error {
	if err := s.reach(ctx); err != nil {
		return err
	}
	defer s.hangUp()
	_, _, err := checked(s, ping)
	return err
}
