package main

import (
	"fmt"
	"math"
	"slices"
)

// quantile returns the value below which a part q of values lies, by linear
// interpolation between order statistics; NaN for none. It sorts values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	at := q * float64(len(values)-1)
	below := int(at)
	above := min(below+1, len(values)-1)
	part := at - float64(below)
	return values[below]*(1-part) + values[above]*part
}

// spread is the middle and the quartiles of some values.
type spread struct{ Low, Median, High float64 }

// spreadOf returns the spread of values, which it leaves as they are.
func spreadOf(values []float64) spread {
	v := slices.Clone(values)
	return spread{quantile(v, 0.25), quantile(v, 0.5), quantile(v, 0.75)}
}

// ratios divides a by b round by round: what two targets gave right after each
// other.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// String gives two decimals each.
func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Low, s.High) }
