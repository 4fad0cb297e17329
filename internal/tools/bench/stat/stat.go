// Package stat holds the few statistics of which the benchmarks' reports are made.
package stat

import (
	"fmt"
	"math"
	"slices"
)

// Quantile returns the value below which a part q of values lies, by linear
// interpolation between order statistics; NaN for none. It sorts values.
func Quantile(values []float64, q float64) float64 {
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

// Spread is the middle and the quartiles of some values.
type Spread struct{ Low, Median, High float64 }

// SpreadOf returns the spread of values, which it leaves as they are.
func SpreadOf(values []float64) Spread {
	v := slices.Clone(values)
	return Spread{Quantile(v, 0.25), Quantile(v, 0.5), Quantile(v, 0.75)}
}

// Ratios divides a by b round by round: what two targets gave right after each
// other.
func Ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// String gives two decimals each.
func (s Spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Low, s.High) }
