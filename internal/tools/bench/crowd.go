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
	part        = 10  // a restart is measured with the crowd's tenth part, too
)

// crowd measures with n live sessions at once.
func crowd(ctx context.Context, s *system, n int) {
	noneCPU, noneTook := s.startCost(ctx)
	fmt.Fprintf(s.cfg.progress, "starting %d sessions\n", n)
	live := must(s.live(ctx, n/part))
	some := s.restart(ctx, live)
	live = append(live, must(s.live(ctx, n-len(live)))...)
	allCPU, allTook := s.startCost(ctx)
	all := s.restart(ctx, live)
	held := must(memoryOf(ctx, s.C.Shell, "1 $(systemctl show --value -p MainPID fjmcp-broker.service)"))
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
}

// startCost begins sessions and ends them, one after the other. It returns PID 1's own
// processor time for one, and how long its start took, in ms.
func (s *system) startCost(ctx context.Context) (pid1, took float64) {
	w := must(s.connect(ctx))
	defer w.conn.Close()
	before := s.pid1Time(ctx)
	var sum time.Duration
	for range crowdStarts {
		sum += must(w.once())
	}
	return (s.pid1Time(ctx) - before).Seconds() * 1000 / crowdStarts, sum.Seconds() * 1000 / crowdStarts
}

// pid1Time is the processor time that PID 1 has used, without its children's.
func (s *system) pid1Time(ctx context.Context) time.Duration {
	out := must(s.C.Shell(ctx, "awk '{print $14 + $15}' /proc/1/stat"))
	return time.Duration(must(strconv.Atoi(strings.TrimSpace(out)))) * 10 * time.Millisecond // its ticks, proc_pid_stat(5)
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
func (s *system) restart(ctx context.Context, sessions []*httpSession) (r restart) {
	pid := must(s.Property(ctx, "fjmcp-broker.service", "MainPID"))
	began := time.Now()
	stopped := make(chan error, 1)
	go func() {
		_, err := s.C.Run(ctx, "systemctl", "restart", "fjmcp-broker.service")
		r.done = time.Since(began)
		stopped <- err
	}()
	must(s.C.Shell(ctx, "while [ -e /proc/"+pid+" ]; do sleep 0.01; done"))
	need(sessions[0].ping()) // its connection waits in the socket for the next broker
	r.first = time.Since(began)
	need(<-stopped)
	var lost atomic.Int64
	_ = atOnce(len(sessions), 4, func(i int) error {
		if sessions[i].ping() != nil {
			lost.Add(1)
		}
		return nil
	})
	need(ctx.Err())
	r.every, r.lost = time.Since(began), int(lost.Load())
	return r
}

// ping has a session answer that has no connection.
func (s *httpSession) ping() error {
	_, _, err := checked(s, ping)
	s.conn.Close()
	return err
}
