package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// report collects what was measured and writes it.
type report struct {
	out     io.Writer
	names   []string         // of all targets, missing ones too, the broker first
	missing map[string]error // baselines that did not start
	done    []measured
	memory  memory
}

type measured struct {
	measure
	results map[string]*series
}

// newReport writes the head of what benchstat(1) reads: a line for each turn, of which
// `benchstat -col /via` compares the targets.
func newReport(out io.Writer) *report {
	fmt.Fprintf(out, "goos: %s\ngoarch: %s\npkg: github.com/fjmcp/fjmcp-broker/internal/tools/bench\n", runtime.GOOS, runtime.GOARCH)
	return &report{out: out, missing: map[string]error{}}
}

func (r *report) sliceLine(m measure, t target, s slice) {
	fmt.Fprintf(r.out, "Benchmark%s/via=%s-%d\t%d\t%.0f ns/op", m.name, t.name, runtime.GOMAXPROCS(0), len(s.took), mean(s.took))
	took := slices.Clone(s.took)
	fmt.Fprintf(r.out, "\t%.0f p50-ns\t%.0f p95-ns", quantile(took, 0.5), quantile(took, 0.95))
	if m.rate {
		fmt.Fprintf(r.out, "\t%.1f calls/s", s.rate())
	}
	fmt.Fprintln(r.out)
}

func (r *report) memoryLines() {
	m := r.memory
	for _, v := range []struct {
		name  string
		bytes float64
	}{
		{"broker/sessions=0", m.none}, {fmt.Sprintf("broker/sessions=%d", m.count), m.idle},
		{fmt.Sprintf("broker/listening=%d", m.count), m.listening}, {"fjmcp-session", spreadOf(m.sessions).Median},
	} {
		fmt.Fprintf(r.out, "BenchmarkMemory/of=%s-%d\t1\t%.0f private-B\n", v.name, runtime.GOMAXPROCS(0), v.bytes)
	}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// tables writes what a person reads.
func (r *report) tables() {
	for _, m := range r.done {
		fmt.Fprintf(r.out, "\n%s\n", m.title)
		w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "\t"+m.columns()+"\tbroker ÷ this (quartiles of the rounds)")
		for _, name := range r.names {
			fmt.Fprintln(w, name+"\t"+r.row(m, name))
		}
		w.Flush()
	}
	if r.memory.count > 0 {
		fmt.Fprintf(r.out, "\nPrivate memory of idle sessions\n")
		r.memoryTable()
	}
	fmt.Fprintln(r.out)
	writeFigures(r.out, r.figures())
}

func (m measure) columns() string {
	if m.rate {
		return "calls/s\tquartiles\tp50\tp95"
	}
	return "p50\tquartiles\tp95\tn"
}

func (r *report) row(m measured, name string) string {
	s, missing := m.results[name], r.missing[name]
	if missing == nil {
		missing = s.failed
	}
	if missing != nil {
		return "missing: " + strings.Join(strings.Fields(missing.Error()), " ")
	}
	rounds, took := spreadOf(s.rounds), slices.Clone(s.took)
	ratio := "1"
	if name != r.names[0] {
		ratio = r.ratio(m, name).String()
	}
	if m.rate {
		return fmt.Sprintf("%.0f\t%.0f–%.0f\t%s\t%s\t%s", rounds.Median, rounds.Low, rounds.High, ms(quantile(took, 0.5)), ms(quantile(took, 0.95)), ratio)
	}
	all := spreadOf(s.took)
	return fmt.Sprintf("%s\t%s–%s\t%s\t%d\t%s", ms(all.Median), ms(all.Low), ms(all.High), ms(quantile(took, 0.95)), len(took), ratio)
}

// ratio is the broker's value by that of another target.
func (r *report) ratio(m measured, name string) spread {
	return spreadOf(ratios(m.results[r.names[0]].rounds, m.results[name].rounds))
}

func (r *report) memoryTable() {
	m := r.memory
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "fjmcp-broker, sessions ended\t%s\n", mib(m.none))
	fmt.Fprintf(w, "fjmcp-broker, %d sessions\t%s\t%s each\n", m.count, mib(m.idle), kib(m.each(m.idle)))
	fmt.Fprintf(w, "fjmcp-broker, %d sessions that listen to their event streams\t%s\t%s each\n", m.count, mib(m.listening), kib(m.each(m.listening)))
	s := spreadOf(m.sessions)
	fmt.Fprintf(w, "fjmcp-session, each (quartiles)\t%s\t%s–%s\n", mib(s.Median), mib(s.Low), mib(s.High))
	w.Flush()
}

// figures are what is to hold. Of those against a baseline, the value is the broker's
// by that of the baseline.
func (r *report) figures() []figure {
	against := func(text, name, baseline string, limit float64, atLeast bool) figure {
		f := figure{text: text, limit: limit, atLeast: atLeast, unit: times}
		f.value, f.missing = r.against(name, baseline)
		return f
	}
	of := func(text string, value, limit float64, unit func(float64) string) figure {
		f := figure{text: text, value: value, limit: limit, unit: unit}
		if r.memory.count == 0 {
			f.missing = errNotMeasured
		}
		return f
	}
	return []figure{
		against("small call, p50, at most tbxark's", "Call", "tbxark", 1, false),
		against("small call, p50, at most a third of supergateway's", "Call", supergatewayName, 1.0/3, false),
		against("calls a second of 8 sessions, at least tbxark's", "Sessions8", "tbxark", 1, true),
		against("calls a second of 8 sessions, at least 5 times supergateway's", "Sessions8", supergatewayName, 5, true),
		against("tools/list, p50, at most 1.2 times stdio's", "List", "stdio", 1.2, false),
		of("fjmcp-broker with 200 idle sessions, at most 64 MiB", r.memory.idle, 64<<20, mib),
		of("each idle session in it, at most 64 KiB", r.memory.each(r.memory.idle), 64<<10, kib),
		of("fjmcp-session, at most 4 MiB", spreadOf(r.memory.sessions).Median, 4<<20, mib),
	}
}

var errNotMeasured = errors.New("not measured")

func (r *report) against(name, baseline string) (float64, error) {
	i := slices.IndexFunc(r.done, func(m measured) bool { return m.name == name })
	if i < 0 {
		return 0, errNotMeasured
	}
	if s := r.done[i].results[baseline]; s == nil || s.failed != nil {
		return 0, fmt.Errorf("%w: there is no baseline %s", errNotMeasured, baseline)
	}
	return r.ratio(r.done[i], baseline).Median, nil
}
