package main

import (
	"strings"
	"testing"
	"time"
)

// series adds one time a round, in milliseconds.
func (r results) series(name string, ms ...int) {
	for round, took := range ms {
		r.add(name, round, time.Duration(took)*time.Millisecond)
	}
}

// The ratios are those of the rounds: a machine that was slow in one was slow for both.
func TestUnitReport(t *testing.T) {
	r := &unitReport{version: "systemd 252", exposure: 0.6, none: results{}, some: results{}}
	for name, ms := range map[string][2][]int{
		startOf(warmLauncher): {{50, 500, 70}, {10, 100, 10}}, wakeOf(warmLauncher): {{60, 600, 61}, {10, 100, 10}},
		startOf(coldLauncher): {{70, 700, 70}, {10, 100, 10}}, loginOf(warmLauncher): {{4, 40, 4}, {10, 100, 10}}, loginOf(coldLauncher): {{6, 60, 6}, {10, 100, 10}},
	} {
		r.none.series(name, ms[0]...)
		r.none.series(forkOf(name), ms[1]...)
	}
	r.some.series(startOf(warmLauncher), 140)
	r.some.series(startOf(coldLauncher), 210)
	r.memory.private = []float64{3 << 20, 5 << 20, 4 << 20}
	r.single, r.most = []float64{1000, 2000, 3000}, []float64{4000, 5000, 6000}
	var out strings.Builder
	r.write(&out)
	lines := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, want := range []string{
		"start, launcher warm 70.00 ms 60.00–285.00 457.00 3 10.00 ms 5.00 (5.00–6.00)",
		"private 4.00 MiB 3.50–4.50",
		"300 live sessions 0.01 ms 0.00–0.01 0.01 3",
		"exposure of a session's unit 0.60 at most 0.60 held",
		"start, launcher warm, by a plain fork 5.00 at most 6.00 held",
		"wake, launcher warm, by a plain fork 6.00 at most 6.00 held",
		"start, launcher cold, by a plain fork 7.00 at most 6.00 NOT HELD",
		"start, launcher warm, with 200 live sessions by with none 2.00 at most 2.50 held",
		"start, launcher cold, with 200 live sessions by with none 3.00 at most 2.50 NOT HELD",
		"wake, launcher cold, by a plain fork NaN at most 6.00 NOT HELD", // it was not measured
		"after a login, launcher warm, by a plain fork 0.40 at most 0.50 held",
		"after a login, launcher cold, by a plain fork 0.60 at most 0.50 NOT HELD",
		"private memory of fjmcp-session, MiB 4.00 at most 4.00 held",
		"small call, with 300 live sessions by with one 2.50 at most 2.00 NOT HELD",
	} {
		if !lines[want] {
			t.Errorf("lacks %q", want)
		}
	}
	if t.Failed() {
		t.Logf("\n%s", &out)
	}
}
