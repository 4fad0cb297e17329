package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

const (
	crowdStarts = 100 // over which PID 1's time is taken
	tick        = 10 * time.Millisecond
	part        = 10 // a restart is measured with the crowd's tenth part, too
)

// crowd is what was measured with very many live sessions.
type crowd struct {
	version       string
	sessions      int
	none, all     startCost
	some, restart restart // with the tenth part, with all
	pid1, broker  float64 // resident memory, bytes
}

// startCost is PID 1's processor time for starting a session and stopping it again, and
// how long the start took, both on average.
type startCost struct{ pid1, took time.Duration }

// restart is one of the broker.
type restart struct {
	done  time.Duration // until systemctl returned
	first time.Duration // until a session has answered a request that came meanwhile
	every time.Duration // until all have answered
	lost  int           // sessions that have not
}

// crowds measures with n live sessions at once on systemd 252 and 257, and writes
// tables.
func crowds(ctx context.Context, cfg config, n int) error {
	for _, suite := range []string{"bookworm", "trixie"} {
		cfg.suite, cfg.sessions = suite, n
		c, err := measureCrowd(ctx, cfg, n)
		if err != nil {
			return fmt.Errorf("%d sessions on %s: %w", n, suite, err)
		}
		c.write(cfg.out)
	}
	return nil
}

func measureCrowd(ctx context.Context, cfg config, n int) (c crowd, err error) {
	fmt.Fprintf(cfg.progress, "booting a container (%s)\n", cfg.suite)
	s, err := boot(ctx, cfg)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b := &bench{cfg: cfg, system: s}
	if b.wire, err = s.login(ctx); err != nil {
		return c, err
	}
	c.version, c.sessions = s.version, n
	if c.none, err = b.startCost(ctx); err != nil {
		return c, err
	}
	fmt.Fprintf(cfg.progress, "starting %d sessions\n", n)
	live, err := b.live(ctx, n/part)
	if err != nil {
		return c, err
	}
	if c.some, err = b.restart(ctx, live); err != nil {
		return c, err
	}
	more, err := b.live(ctx, n-len(live))
	if err != nil {
		return c, err
	}
	live = append(live, more...)
	if c.all, err = b.startCost(ctx); err != nil {
		return c, err
	}
	if c.restart, err = b.restart(ctx, live); err != nil {
		return c, err
	}
	c.pid1, c.broker, err = s.resident(ctx)
	return c, err
}

// startCost begins sessions and ends them, one after the other.
func (b *bench) startCost(ctx context.Context) (cost startCost, err error) {
	w, err := b.wire.connect(ctx)
	if err != nil {
		return cost, err
	}
	defer w.conn.Close()
	before, err := b.system.pid1Time(ctx)
	if err != nil {
		return cost, err
	}
	for range crowdStarts {
		took, err := w.start()
		if err != nil {
			return cost, err
		}
		cost.took += took / crowdStarts
	}
	after, err := b.system.pid1Time(ctx)
	cost.pid1 = (after - before) / crowdStarts
	return cost, err
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

// restart restarts the broker while a client waits for an answer, and then has every
// session answer.
func (b *bench) restart(ctx context.Context, sessions []*httpSession) (r restart, err error) {
	pid, err := b.system.Property(ctx, "fjmcp-broker.service", "MainPID")
	if err != nil {
		return r, err
	}
	began := time.Now()
	stopped := make(chan error, 1)
	go func() {
		_, err := b.system.C.Run(ctx, "systemctl", "restart", "fjmcp-broker.service")
		r.done = time.Since(began)
		stopped <- err
	}()
	if _, err := b.system.C.Shell(ctx, "while [ -e /proc/"+pid+" ]; do sleep 0.01; done"); err != nil {
		return r, err
	}
	if r.first, err = firstAnswer(ctx, began, sessions[0]); err != nil {
		return r, err
	}
	if err := <-stopped; err != nil {
		return r, err
	}
	var lost atomic.Int64
	err = atOnce(len(sessions), 4, func(i int) error {
		if err := sessions[i].reach(ctx); err != nil {
			return err
		}
		defer sessions[i].hangUp()
		if _, _, err := checked(sessions[i], ping); err != nil {
			lost.Add(1)
		}
		return nil
	})
	r.every, r.lost = time.Since(began), int(lost.Load())
	return r, err
}

// firstAnswer asks a session. The connection waits in the socket for the next broker.
func firstAnswer(ctx context.Context, began time.Time, s *httpSession) (time.Duration, error) {
	if err := s.reach(ctx); err != nil {
		return 0, err
	}
	defer s.hangUp()
	_, _, err := checked(s, ping)
	return time.Since(began), err
}

// resident are the sizes of PID 1 and of the broker, bytes.
func (s *system) resident(ctx context.Context) (pid1, broker float64, err error) {
	out, err := s.C.Shell(ctx, `for p in 1 $(systemctl show --value -p MainPID fjmcp-broker.service); do awk '/^VmRSS:/ {print $2}' /proc/$p/status; done`)
	if err != nil {
		return 0, 0, err
	}
	_, err = fmt.Sscan(out, &pid1, &broker)
	return pid1 * 1024, broker * 1024, err
}

// growth is how much more of PID 1's time a start takes for each live session.
func (c crowd) growth() time.Duration { return (c.all.pid1 - c.none.pid1) / time.Duration(c.sessions) }

func (c crowd) figures() []figure {
	all := []figure{
		atMost("restart of the broker, s", 3, c.restart.done.Seconds()),
		atMost(fmt.Sprintf("restart, by one with %d sessions", c.sessions/part), part, c.restart.done.Seconds()/c.some.done.Seconds()),
		atMost("sessions lost by it", 0, float64(c.restart.lost+c.some.lost)),
	}
	if strings.HasPrefix(c.version, "systemd 252") {
		return append(all, atMost("PID 1's time for a start, more for each live session, ms", 0.05, float64(c.growth())/1e6))
	}
	return append(all, atMost("PID 1's time for a start, by that with none live", 2, float64(c.all.pid1)/float64(c.none.pid1)))
}

func (c crowd) write(out io.Writer) {
	fmt.Fprintf(out, "\n%d live sessions at once, %s\n", c.sessions, c.version)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "live\tPID 1's time for a start and a stop\tto the first answer, mean")
	for _, r := range []struct {
		live int
		cost startCost
	}{{0, c.none}, {c.sessions, c.all}} {
		fmt.Fprintf(w, "%d\t%.1f ms\t%.0f ms\n", r.live, float64(r.cost.pid1)/1e6, float64(r.cost.took)/1e6)
	}
	w.Flush()
	fmt.Fprintln(w, "\nrestart with\tdone\tfirst answer\tall have answered")
	for _, r := range []struct {
		live int
		restart
	}{{c.sessions / part, c.some}, {c.sessions, c.restart}} {
		fmt.Fprintf(w, "%d\t%.2f s\t%.2f s\t%.2f s\n", r.live, r.done.Seconds(), r.first.Seconds(), r.every.Seconds())
	}
	w.Flush()
	fmt.Fprintf(out, "resident: PID 1 %.1f MiB, fjmcp-broker %.1f MiB\n\n", c.pid1/(1<<20), c.broker/(1<<20))
	writeFigures(out, c.figures())
}
