package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

// memory is what each of some processes holds, MiB.
type memory struct {
	private  []float64 // shared with no other process, file pages that only it maps among it: what one more costs
	pss      []float64 // and its part of what several share, the program's text most of all
	resident []float64
}

// memoryOf reads the smaps_rollup (proc_pid_smaps(5)) of processes, which the shell finds
// by what pids says.
func memoryOf(ctx context.Context, shell func(context.Context, string) (string, error), pids string) (m memory, err error) {
	out, err := shell(ctx, `for p in `+pids+`; do
		awk '/^Private_/ { private += $2 } /^Pss:/ { pss = $2 } /^Rss:/ { rss = $2 } END { print private / 1024, pss / 1024, rss / 1024 }' "/proc/$p/smaps_rollup"
	done`)
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(out) {
		var private, pss, resident float64
		if _, err := fmt.Sscan(line, &private, &pss, &resident); err != nil {
			return m, fmt.Errorf("cannot read %q of smaps_rollup: %w", line, err)
		}
		m.private, m.pss, m.resident = append(m.private, private), append(m.pss, pss), append(m.resident, resident)
	}
	return m, nil
}

func localShell(ctx context.Context, script string) (string, error) {
	out, err := exec.CommandContext(ctx, "/bin/sh", "-euc", script).Output()
	return string(out), err
}

// measureMemory measures a broker of its own: with sessions ended, so that what it does
// for the first of them counts for none of those to come; with sessions whose clients
// have hung up; and with an open event stream each.
func measureMemory(ctx context.Context, cfg config, forge *localbroker.Forge) (all []figure, err error) {
	err = withBroker(ctx, cfg, forge, func(b *broker) (err error) {
		all, err = b.memory(ctx, cfg)
		return err
	})
	return all, err
}

func (b *broker) memory(ctx context.Context, cfg config) ([]figure, error) {
	if err := b.endSome(ctx); err != nil {
		return nil, err
	}
	pid := fmt.Sprint(b.Pid())
	none, err := cfg.private(ctx, "broker/sessions=0", pid)
	if err != nil {
		return nil, err
	}
	sessions, err := b.live(ctx, cfg.idle, toolsList)
	if err != nil {
		return nil, err
	}
	idle, err := cfg.private(ctx, fmt.Sprintf("broker/sessions=%d", cfg.idle), pid)
	if err != nil {
		return nil, err
	}
	each, err := cfg.private(ctx, "fjmcp-session", "$(cat /proc/"+pid+"/task/*/children)")
	if err != nil {
		return nil, err
	}
	streams := make([]io.Closer, len(sessions))
	defer func() { _ = closeAll(streams) }()
	err = atOnce(len(sessions), openAtOnce, func(i int) (err error) {
		streams[i], err = sessions[i].listen(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	listening, err := cfg.private(ctx, fmt.Sprintf("broker/listening=%d", cfg.idle), pid)
	kib := 1024 / float64(cfg.idle)
	return []figure{
		{"fjmcp-broker, sessions ended", none, "MiB", "", 0},
		{fmt.Sprintf("fjmcp-broker, %d idle sessions", cfg.idle), idle, "MiB", "at most", 64},
		{"each idle session in it", (idle - none) * kib, "KiB", "at most", 64},
		{fmt.Sprintf("fjmcp-broker, %d sessions that listen to their event streams", cfg.idle), listening, "MiB", "", 0},
		{"each listening session in it", (listening - none) * kib, "KiB", "", 0},
		{"fjmcp-session, median", each, "MiB", "at most", 4},
	}, err
}

// endSome begins sessions and ends them.
func (b *broker) endSome(ctx context.Context) error {
	sessions, err := b.live(ctx, openAtOnce, toolsList)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := s.reach(ctx); err != nil {
			return err
		}
	}
	return closeAll(sessions)
}

// private is the median of the private memory of processes, MiB.
func (cfg config) private(ctx context.Context, of, pids string) (float64, error) {
	m, err := memoryOf(ctx, localShell, pids)
	median := spreadOf(m.private).Median
	if err == nil {
		fmt.Fprintf(cfg.out, "BenchmarkMemory/of=%s-%d\t1\t%.0f private-B\n", of, runtime.GOMAXPROCS(0), median*(1<<20))
	}
	return median, err
}
