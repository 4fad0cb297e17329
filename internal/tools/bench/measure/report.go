package measure

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"

	"github.com/fjmcp/fjmcp-broker/internal/tools/bench/stat"
)

// report collects what was measured and writes it.
type report struct {
	lines   lines
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

func newReport(cfg Config) *report {
	r := &report{lines: lines{cfg.Out}, out: cfg.Out, missing: map[string]error{}}
	r.lines.head()
	return r
}

func (r *report) add(m measure, results map[string]*series) {
	r.done = append(r.done, measured{m, results})
}

// lines writes what benchstat(1) reads: `benchstat -col /via` compares the targets.
type lines struct{ out io.Writer }

func (l lines) head() {
	fmt.Fprintf(l.out, "goos: %s\ngoarch: %s\npkg: github.com/fjmcp/fjmcp-broker/internal/tools/bench/measure\n", runtime.GOOS, runtime.GOARCH)
}

func (l lines) slice(m measure, t Target, s slice) {
	fmt.Fprintf(l.out, "Benchmark%s/via=%s-%d\t%d\t%.0f ns/op", m.name, t.Name, runtime.GOMAXPROCS(0), len(s.took), mean(s.took))
	took := slices.Clone(s.took)
	fmt.Fprintf(l.out, "\t%.0f p50-ns\t%.0f p95-ns", stat.Quantile(took, 0.5), stat.Quantile(took, 0.95))
	if m.rate {
		fmt.Fprintf(l.out, "\t%.1f calls/s", s.rate())
	}
	fmt.Fprintln(l.out)
}

func (l lines) memory(m memory) {
	sessions := stat.SpreadOf(m.sessions)
	for _, v := range []struct {
		name  string
		bytes float64
	}{
		{"broker/sessions=0", m.none}, {fmt.Sprintf("broker/sessions=%d", m.count), m.idle},
		{fmt.Sprintf("broker/listening=%d", m.count), m.listening}, {"fjmcp-session", sessions.Median},
	} {
		fmt.Fprintf(l.out, "BenchmarkMemory/of=%s-%d\t1\t%.0f private-B\n", v.name, runtime.GOMAXPROCS(0), v.bytes)
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
	fmt.Fprintf(r.out, "\nFigures to hold\n")
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	for _, f := range figures {
		fmt.Fprintln(w, f.text+"\t"+f.verdict(r))
	}
	w.Flush()
}

func (m measure) columns() string {
	if m.rate {
		return "calls/s\tquartiles\tp50\tp95"
	}
	return "p50\tquartiles\tp95\tn"
}

func (r *report) row(m measured, name string) string {
	if err := r.missing[name]; err != nil {
		return "missing: " + oneLine(err)
	}
	s := m.results[name]
	if s.failed != nil {
		return "missing: " + oneLine(s.failed)
	}
	rounds, took := stat.SpreadOf(s.rounds), slices.Clone(s.took)
	ratio := "1"
	if name != r.names[0] {
		ratio = r.ratio(m, name).String()
	}
	if m.rate {
		return fmt.Sprintf("%.0f\t%.0f–%.0f\t%s\t%s\t%s", rounds.Median, rounds.Low, rounds.High, ms(stat.Quantile(took, 0.5)), ms(stat.Quantile(took, 0.95)), ratio)
	}
	all := stat.SpreadOf(s.took)
	return fmt.Sprintf("%s\t%s–%s\t%s\t%d\t%s", ms(all.Median), ms(all.Low), ms(all.High), ms(stat.Quantile(took, 0.95)), len(took), ratio)
}

// ratio is the broker's value by that of another target.
func (r *report) ratio(m measured, name string) stat.Spread {
	return stat.SpreadOf(stat.Ratios(m.results[r.names[0]].rounds, m.results[name].rounds))
}

func (r *report) memoryTable() {
	m := r.memory
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "fjmcp-broker, sessions ended\t%s\n", mib(m.none))
	fmt.Fprintf(w, "fjmcp-broker, %d sessions\t%s\t%s each\n", m.count, mib(m.idle), kib(m.each(m.idle)))
	fmt.Fprintf(w, "fjmcp-broker, %d sessions that listen to their event streams\t%s\t%s each\n", m.count, mib(m.listening), kib(m.each(m.listening)))
	s := stat.SpreadOf(m.sessions)
	fmt.Fprintf(w, "fjmcp-session, each (quartiles)\t%s\t%s–%s\n", mib(s.Median), mib(s.Low), mib(s.High))
	w.Flush()
}
