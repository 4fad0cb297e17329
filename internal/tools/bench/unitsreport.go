package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// results are the times of each measure, by round, ns.
type results map[string][][]float64

func (r results) add(name string, round int, took time.Duration) {
	for len(r[name]) <= round {
		r[name] = append(r[name], nil)
	}
	r[name][round] = append(r[name][round], float64(took))
}

// all are the times of a measure in all rounds.
func (r results) all(name string) []float64 { return slices.Concat(r[name]...) }

// medians are those of the rounds.
func (r results) medians(name string) []float64 {
	var m []float64
	for _, round := range r[name] {
		m = append(m, quantile(slices.Clone(round), 0.5))
	}
	return m
}

// unitReport is all that was measured.
type unitReport struct {
	version      string
	exposure     float64
	none, some   results // with no other live session, with someLive
	memory       unitMemory
	single, most []float64 // calls, ns, with one live session, with mostLive
}

// figures are what is to hold.
func (r *unitReport) figures() []figure {
	var all []figure
	add := func(text string, limit, value float64) { all = append(all, atMost(text, limit, value)) }
	add("exposure of a session's unit", 0.6, r.exposure)
	for _, l := range []launcher{warmLauncher, coldLauncher} {
		add(startOf(l)+", by a plain fork", 6, r.byFork(r.none, startOf(l)).Median)
		add(wakeOf(l)+", by a plain fork", 6, r.byFork(r.none, wakeOf(l)).Median)
		add(fmt.Sprintf("%s, with %d live sessions by with none", startOf(l), someLive), 2.5, r.byNone(startOf(l)))
		add(fmt.Sprintf("%s, with %d live sessions by with none", wakeOf(l), someLive), 2.5, r.byNone(wakeOf(l)))
		add(loginOf(l)+", by a plain fork", 0.5, r.byFork(r.none, loginOf(l)).Median)
	}
	add("private memory of fjmcp-session, MiB", 4, spreadOf(r.memory.private).Median/(1<<20))
	add(fmt.Sprintf("small call, with %d live sessions by with one", mostLive), 2, spreadOf(r.most).Median/spreadOf(r.single).Median)
	return all
}

// forkOf names the plain forks before the turns of a measure.
func forkOf(name string) string { return "plain fork before: " + name }

// byFork compares with the plain forks of the same rounds.
func (r *unitReport) byFork(of results, name string) spread {
	return spreadOf(ratios(of.medians(name), of.medians(forkOf(name))))
}

// byNone compares medians: the rounds are not the same.
func (r *unitReport) byNone(name string) float64 {
	return spreadOf(r.some.all(name)).Median / spreadOf(r.none.all(name)).Median
}

func (r *unitReport) write(out io.Writer) {
	fmt.Fprintf(out, "\nUnder the systemd launcher, in a container, %s\n", r.version)
	r.starts(out, "no other live session", r.none)
	r.starts(out, fmt.Sprintf("%d live sessions", someLive), r.some)
	fmt.Fprintf(out, "\nMemory of fjmcp-session, %d of them\n", len(r.memory.private))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tmedian\tquartiles")
	for _, v := range []struct {
		name  string
		bytes []float64
	}{{"private", r.memory.private}, {"proportional", r.memory.pss}} {
		s := spreadOf(v.bytes)
		fmt.Fprintf(w, "%s\t%.2f MiB\t%.2f–%.2f\n", v.name, s.Median/(1<<20), s.Low/(1<<20), s.High/(1<<20))
	}
	w.Flush()
	fmt.Fprintf(out, "\nSmall call at a low load, one each %v\n", callEvery)
	fmt.Fprintln(w, "\tp50\tquartiles\tp95\tn")
	fmt.Fprintln(w, row("one live session", r.single))
	fmt.Fprintln(w, row(fmt.Sprintf("%d live sessions", mostLive), r.most))
	w.Flush()
	fmt.Fprintln(out)
	writeFigures(out, r.figures())
}

func (r *unitReport) starts(out io.Writer, title string, of results) {
	fmt.Fprintf(out, "\nTo the first answer, %s\n", title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tp50\tquartiles\tp95\tn\ta plain fork, p50\t÷ that (quartiles of the rounds)")
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if forks := of.all(forkOf(name)); len(forks) > 0 {
			fmt.Fprintf(w, "%s\t%.2f ms\t%s\n", row(name, of.all(name)), spreadOf(forks).Median/1e6, r.byFork(of, name))
		}
	}
	w.Flush()
}

// row is a line's beginning.
func row(name string, took []float64) string {
	s := spreadOf(took)
	return fmt.Sprintf("%s\t%.2f ms\t%.2f–%.2f\t%.2f\t%d", name, s.Median/1e6, s.Low/1e6, s.High/1e6, quantile(slices.Clone(took), 0.95)/1e6, len(took))
}
