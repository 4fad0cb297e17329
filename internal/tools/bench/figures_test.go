package main

import (
	"errors"
	"strings"
	"testing"
)

// rounds makes a report of one measure.
func rounds(name string, values map[string][]float64) *report {
	results := map[string]*series{}
	for target, v := range values {
		results[target] = &series{rounds: v}
	}
	return &report{names: []string{"broker"}, done: []measured{{measure{name: name}, results}}}
}

// The ratio is that of neighbours: a machine that was slow in one round was slow
// for both.
func TestFigures(t *testing.T) {
	r := rounds("Sessions8", map[string][]float64{"broker": {500, 50, 700}, supergatewayName: {100, 10, 100}})
	r.memory = memory{count: 200, none: 8 << 20, idle: 8<<20 + 200*(65<<10), sessions: []float64{1 << 20}}
	got := map[string]string{}
	for _, f := range r.figures() {
		got[f.text] = strings.Join(strings.Fields(f.verdict()), " ")
	}
	for text, want := range map[string]string{
		"calls a second of 8 sessions, at least 5 times supergateway's": "5.00× held",
		"calls a second of 8 sessions, at least tbxark's":               "not measured: there is no baseline tbxark",
		"each idle session in it, at most 64 KiB":                       "65.0 KiB NOT HELD",
		"fjmcp-session, at most 4 MiB":                                  "1.0 MiB held",
	} {
		if got[text] != want {
			t.Errorf("%s: %q, want %q", text, got[text], want)
		}
	}
	r.done[0].results[supergatewayName].failed = errors.New("it broke")
	if v := r.figures()[3].verdict(); !strings.HasPrefix(v, "not measured") {
		t.Errorf("after a failure: %q", v)
	}
}
