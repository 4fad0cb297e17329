package measure

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/tools/bench/stat"
)

// figure is something the broker is to hold.
type figure struct {
	text    string
	value   func(*report) (float64, error)
	limit   float64
	atLeast bool
	unit    func(float64) string
}

var figures = []figure{
	{text: "small call, p50, at most tbxark's", value: against("Call", "tbxark"), limit: 1, unit: times},
	{text: "small call, p50, at most a third of supergateway's", value: against("Call", supergatewayName), limit: 1.0 / 3, unit: times},
	{text: "calls a second of 8 sessions, at least tbxark's", value: against("Sessions8", "tbxark"), limit: 1, atLeast: true, unit: times},
	{text: "calls a second of 8 sessions, at least 5 times supergateway's", value: against("Sessions8", supergatewayName), limit: 5, atLeast: true, unit: times},
	{text: "tools/list, p50, at most 1.2 times stdio's", value: against("List", "stdio"), limit: 1.2, unit: times},
	{text: "fjmcp-broker with 200 idle sessions, at most 64 MiB", value: ofMemory(func(m memory) float64 { return m.idle }), limit: 64 << 20, unit: mib},
	{text: "each idle session in it, at most 64 KiB", value: ofMemory(func(m memory) float64 { return m.each(m.idle) }), limit: 64 << 10, unit: kib},
	{text: "fjmcp-session, at most 4 MiB", value: ofMemory(func(m memory) float64 { return stat.SpreadOf(m.sessions).Median }), limit: 4 << 20, unit: mib},
}

// against is the broker's value by that of a baseline.
func against(name, baseline string) func(*report) (float64, error) {
	return func(r *report) (float64, error) {
		for _, m := range r.done {
			if m.name != name {
				continue
			}
			if s := m.results[baseline]; s == nil || s.failed != nil {
				return 0, fmt.Errorf("not measured: there is no baseline %s", baseline)
			}
			return r.ratio(m, baseline).Median, nil
		}
		return 0, errors.New("not measured")
	}
}

func ofMemory(value func(memory) float64) func(*report) (float64, error) {
	return func(r *report) (float64, error) {
		if r.memory.count == 0 {
			return 0, errors.New("not measured")
		}
		return value(r.memory), nil
	}
}

// verdict is what became of a figure.
func (f figure) verdict(r *report) string {
	v, err := f.value(r)
	if err != nil {
		return err.Error()
	}
	held := v <= f.limit
	if f.atLeast {
		held = v >= f.limit
	}
	if !held {
		return f.unit(v) + "\tNOT HELD"
	}
	return f.unit(v) + "\theld"
}

func times(v float64) string { return fmt.Sprintf("%.2f×", v) }
func mib(v float64) string   { return fmt.Sprintf("%.1f MiB", v/(1<<20)) }
func kib(v float64) string   { return fmt.Sprintf("%.1f KiB", v/(1<<10)) }
func ms(ns float64) string   { return fmt.Sprintf("%.3f ms", ns/1e6) }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
