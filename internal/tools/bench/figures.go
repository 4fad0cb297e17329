package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// figure is something the broker is to hold.
type figure struct {
	text         string
	value, limit float64
	missing      error // why there is no value
	atLeast      bool
	unit         func(float64) string // of the value
}

// verdict is what became of a figure. NaN is not held.
func (f figure) verdict() string {
	if f.missing != nil {
		return f.missing.Error()
	}
	if f.value <= f.limit && !f.atLeast || f.value >= f.limit && f.atLeast {
		return f.unit(f.value) + "\theld"
	}
	return f.unit(f.value) + "\tNOT HELD"
}

func writeFigures(out io.Writer, all []figure) {
	fmt.Fprintln(out, "Figures to hold")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range all {
		fmt.Fprintln(w, f.text+"\t"+f.verdict())
	}
	w.Flush()
}

// atMost is a figure without a unit, whose limit is printed.
func atMost(text string, limit, value float64) figure {
	return figure{text: text, value: value, limit: limit, unit: func(v float64) string { return fmt.Sprintf("%.2f\tat most %.2f", v, limit) }}
}

func times(v float64) string { return fmt.Sprintf("%.2f×", v) }
func mib(v float64) string   { return fmt.Sprintf("%.1f MiB", v/(1<<20)) }
func kib(v float64) string   { return fmt.Sprintf("%.1f KiB", v/(1<<10)) }
func ms(ns float64) string   { return fmt.Sprintf("%.3f ms", ns/1e6) }
