package main

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
)

// lines are those of a text, their white space folded.
func lines(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		all[strings.Join(strings.Fields(line), " ")] = true
	}
	return all
}

// add adds one time a round, in milliseconds.
func (r results) add(name string, ms ...float64) {
	r[name] = &series{}
	for _, v := range ms {
		r[name].rounds = append(r[name].rounds, slice{took: []float64{v * 1e6}, rate: 1000 / v})
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{4, 1, 3, 2}, spread{1.75, 2.5, 3.25}},
		{[]float64{5, 1, 4, 2, 3}, spread{2, 3, 4}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("spreadOf(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

// The ratio is that of neighbours: a machine that was slow in one round was slow for
// both. What failed gives none.
func TestFigures(t *testing.T) {
	r, cfg := results{}, config{only: regexp.MustCompile("Sessions8|List")}
	r.add("Sessions8/via=broker", 20, 200, 10)
	r.add("Sessions8/via=supergateway", 100, 1000, 10)
	r.add("List/via=broker", 13)
	r.add("List/via=stdio", 10)
	text := func() map[string]bool {
		var out strings.Builder
		writeFigures(&out, "", cfg.figures(r))
		return lines(out.String())
	}
	for _, want := range []string{
		"calls a second of 8 sessions, by supergateway's 5 times at least 5 held",
		"calls a second of 8 sessions, by tbxark's not measured",
		"tools/list, p50, by stdio's 1.3 times at most 1.2 NOT HELD",
	} {
		if got := text(); !got[want] {
			t.Errorf("lacks %q: %v", want, got)
		}
	}
	r["Sessions8/via=supergateway"].failed = errors.New("it broke")
	if want := "calls a second of 8 sessions, by supergateway's not measured"; !text()[want] {
		t.Errorf("lacks %q after a failure", want)
	}
}

func TestUnitReport(t *testing.T) {
	r := &unitReport{version: "systemd 252", exposure: 0.6, none: results{}, some: results{}}
	for name, ms := range map[string][2][]float64{
		"start, launcher warm": {{50, 500, 70}, {10, 100, 10}}, "wake, launcher warm": {{60, 600, 61}, {10, 100, 10}},
		"start, launcher cold": {{70, 700, 70}, {10, 100, 10}}, "wake, launcher cold": {{6, 60, 6}, {10, 100, 10}},
		"after a login, launcher warm": {{4, 40, 4}, {10, 100, 10}}, "after a login, launcher cold": {{6, 60, 6}, {10, 100, 10}},
	} {
		r.none.add(name, ms[0]...)
		r.none.add(before(name), ms[1]...)
		r.some.add(name, 2*ms[0][0])
		r.some.add(before(name), ms[1]...)
	}
	r.starts = []string{"start, launcher warm", "wake, launcher warm", "start, launcher cold", "wake, launcher cold"}
	r.logins = []string{"after a login, launcher warm", "after a login, launcher cold"}
	r.some.add("start, launcher cold", 210)
	r.sessions = memory{private: []float64{3, 5, 4}, pss: []float64{6, 6, 6}}
	calls := results{}
	calls.add("one", 0.001, 0.002, 0.003)
	calls.add("most", 0.004, 0.005, 0.006)
	r.single, r.lived = calls["one"], calls["most"]
	var out strings.Builder
	r.write(&out)
	got := lines(out.String())
	for _, want := range []string{
		"start, launcher warm 70.000 (60.000–285.000) 457.000 3 14 (8–17) 5.00 (5.00–6.00)",
		"plain fork before: start, launcher warm 10.000 (10.000–55.000) 91.000 3 100 (55–100)",
		"fjmcp-session, private, median of 3 4 MiB at most 4 held",
		"the same, upper quartile 4.5 MiB",
		"fjmcp-session, proportional, median 6 MiB",
		"300 live sessions 0.005 (0.005–0.005) 0.006 3 200000 (183333–225000)",
		"exposure of a session's unit 0.6 at most 0.6 held",
		"start, launcher warm, by a plain fork 5 times at most 6 held",
		"wake, launcher warm, by a plain fork 6 times at most 6 held",
		"start, launcher cold, by a plain fork 7 times at most 6 NOT HELD",
		"start, launcher warm, with 200 live sessions by with none 1.429 times at most 2.5 held",
		"start, launcher cold, with 200 live sessions by with none 3 times at most 2.5 NOT HELD",
		"after a login, launcher warm, by a plain fork 0.4 times at most 0.5 held",
		"after a login, launcher cold, by a plain fork 0.6 times at most 0.5 NOT HELD",
		"small call, with 300 live sessions by with one 2.5 times at most 2 NOT HELD",
	} {
		if !got[want] {
			t.Errorf("lacks %q", want)
		}
	}
	if t.Failed() {
		t.Logf("\n%s", &out)
	}
}
