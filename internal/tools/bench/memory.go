package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
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

// memory measures the broker: with sessions ended, so that what it does for the first of
// them counts for none of those to come; with sessions whose clients have hung up; and
// with an open event stream each.
func (b *broker) memory(ctx context.Context, cfg config) []figure {
	need(closeAll(must(b.live(ctx, openAtOnce, toolsList))))
	pid, n := fmt.Sprint(b.Pid()), float64(cfg.idle)
	none := cfg.private(ctx, "broker/sessions=0", pid)
	sessions := must(b.live(ctx, cfg.idle, toolsList))
	idle := cfg.private(ctx, fmt.Sprintf("broker/sessions=%d", cfg.idle), pid)
	each := cfg.private(ctx, "fjmcp-session", "$(cat /proc/"+pid+"/task/*/children)")
	streams := make([]io.Closer, len(sessions))
	defer func() { _ = closeAll(streams) }()
	need(atOnce(len(sessions), openAtOnce, func(i int) (err error) {
		streams[i], err = sessions[i].listen(ctx)
		return err
	}))
	listening := cfg.private(ctx, fmt.Sprintf("broker/listening=%d", cfg.idle), pid)
	return []figure{
		{"fjmcp-broker, sessions ended", none, "MiB", "", 0},
		{fmt.Sprintf("fjmcp-broker, %d idle sessions", cfg.idle), idle, "MiB", "at most", 64},
		{"each idle session in it", (idle - none) * 1024 / n, "KiB", "at most", 64},
		{fmt.Sprintf("fjmcp-broker, %d sessions that listen to their event streams", cfg.idle), listening, "MiB", "", 0},
		{"each listening session in it", (listening - none) * 1024 / n, "KiB", "", 0},
		{"fjmcp-session, median", each, "MiB", "at most", 4},
	}
}

// private is the median of the private memory of processes, MiB.
func (cfg config) private(ctx context.Context, of, pids string) float64 {
	median := spreadOf(must(memoryOf(ctx, localShell, pids)).private).Median
	fmt.Fprintf(cfg.out, "BenchmarkMemory/of=%s-%d\t1\t%.0f private-B\n", of, runtime.GOMAXPROCS(0), median*(1<<20))
	return median
}
