package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// slice is what one way gave in one of its turns.
type slice struct {
	took []float64 // each, ns
	rate float64   // how many a second
}

// once is a slice of one.
func once(took time.Duration, err error) (slice, error) {
	return slice{[]float64{float64(took)}, 1 / took.Seconds()}, err
}

// series is what one way gave, by round.
type series struct {
	rounds []slice
	failed error // why there is no more
}

func (s *series) all() (took []float64) {
	for _, r := range s.rounds {
		took = append(took, r.took...)
	}
	return took
}

// medians are those of the rounds, ns.
func (s *series) medians() (all []float64) {
	for _, r := range s.rounds {
		all = append(all, spreadOf(r.took).Median)
	}
	return all
}

func (s *series) rates() (all []float64) {
	for _, r := range s.rounds {
		all = append(all, r.rate)
	}
	return all
}

// turn is one thing after the other, each by the name of its series.
type turn []step

type step struct {
	name string
	take func(context.Context) (slice, error)
}

type results map[string]*series

// inTurn has each take its turn, round after round, beginning with another one each time,
// and tells done of every slice. What fails is out.
func (r results) inTurn(ctx context.Context, rounds int, turns []turn, done func(string, slice)) error {
	for round := range rounds {
		for i := range turns {
			for _, step := range turns[(i+round)%len(turns)] {
				s := r[step.name]
				if s == nil {
					s = &series{}
					r[step.name] = s
				}
				if s.failed != nil {
					continue
				}
				got, err := step.take(ctx)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if s.failed = err; err == nil {
					s.rounds = append(s.rounds, got)
					done(step.name, got)
				}
			}
		}
	}
	return nil
}

// ratio is a by b, round by round: what two gave right after each other.
func (r results) ratio(a, b string, of func(*series) []float64) spread {
	if r[a] == nil || r[b] == nil || r[a].failed != nil || r[b].failed != nil {
		return spreadOf(nil)
	}
	x, y := of(r[a]), of(r[b])
	for i := range x {
		x[i] /= y[i]
	}
	return spreadOf(x)
}

// row is a line of a table: a series and what it is compared with.
type row struct {
	name, series string
	ratio        spread
}

func (r results) table(out io.Writer, title, ratio string, rows []row) {
	fmt.Fprintf(out, "\n%s\n", title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tp50 (quartiles), ms\tp95\tn\ta second (quartiles)\t"+ratio)
	for _, row := range rows {
		s := r[row.series]
		if s.failed != nil {
			fmt.Fprintf(w, "%s\tmissing: %s\n", row.name, strings.Join(strings.Fields(s.failed.Error()), " "))
			continue
		}
		ms := s.all()
		for i := range ms {
			ms[i] /= 1e6
		}
		fmt.Fprintf(w, "%s\t%s\t%.3f\t%d\t%s\t%s\n", row.name, spreadOf(ms).as("%.3f"), quantile(ms, 0.95), len(ms), spreadOf(s.rates()).as("%.0f"), row.ratio.as("%.2f"))
	}
	w.Flush()
}

// quantile returns the value below which a part q of values lies, by linear
// interpolation between order statistics; NaN for none. It sorts values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	below, part := math.Modf(q * float64(len(values)-1))
	i := int(below)
	return values[i]*(1-part) + values[min(i+1, len(values)-1)]*part
}

// spread is the middle and the quartiles of some values.
type spread struct{ Low, Median, High float64 }

// spreadOf returns the spread of values, which it leaves as they are.
func spreadOf(values []float64) spread {
	v := slices.Clone(values)
	return spread{quantile(v, 0.25), quantile(v, 0.5), quantile(v, 0.75)}
}

// as writes each by a verb of package fmt, and nothing for what there is not.
func (s spread) as(verb string) string {
	if math.IsNaN(s.Median) {
		return ""
	}
	return fmt.Sprintf(strings.ReplaceAll("V (V–V)", "V", verb), s.Median, s.Low, s.High)
}

// figure is a value and, if it has one, the bound that it is to hold.
type figure struct {
	text  string
	value float64 // NaN: it was not measured
	unit  string
	bound string // "at most", "at least" or empty
	limit float64
}

func (f figure) String() string {
	value := fmt.Sprintf("%s\t%.4g %s", f.text, f.value, f.unit)
	switch {
	case math.IsNaN(f.value):
		return f.text + "\tnot measured"
	case f.bound == "":
		return value
	case f.bound == "at most" && f.value <= f.limit || f.bound == "at least" && f.value >= f.limit:
		return fmt.Sprintf("%s\t%s %.4g\theld", value, f.bound, f.limit)
	}
	return fmt.Sprintf("%s\t%s %.4g\tNOT HELD", value, f.bound, f.limit)
}

func writeFigures(out io.Writer, title string, all []figure) {
	fmt.Fprintf(out, "\n%s\n", title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range all {
		fmt.Fprintln(w, f)
	}
	w.Flush()
}
