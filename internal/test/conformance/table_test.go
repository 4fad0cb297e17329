package conformance

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// Column is a run of the suite in the table.
type Column struct {
	Revision, Name string
	Scenarios      []Scenario
	// Findings is all that Compare says of a run through the broker, Fresh what no
	// exception covers.
	Findings, Fresh []Finding
}

// Table shows every scenario in every run, and Column.Count of each.
func Table(columns []Column) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range columns {
		fmt.Fprint(w, "\t", c.Revision)
	}
	fmt.Fprint(w, "\nscenario")
	for _, c := range columns {
		fmt.Fprint(w, "\t", c.Name)
	}
	for _, s := range rows(columns) {
		fmt.Fprint(w, "\n", s.Name)
		if s.Unscored != "" {
			fmt.Fprintf(w, " (%s)", s.Unscored)
		}
		for _, c := range columns {
			fmt.Fprint(w, "\t", c.cell(s.Name))
		}
	}
	fmt.Fprint(w, "\n", strings.Repeat("\t", len(columns)), "\nscored and passed")
	for _, c := range columns {
		fmt.Fprint(w, "\t", c.Count())
	}
	fmt.Fprintln(w)
	w.Flush()
	return b.String()
}

// rows lists the scenarios of all columns, scored ones first.
func rows(columns []Column) []Scenario {
	var scored, unscored []Scenario
	for _, c := range columns {
		for _, s := range c.Scenarios {
			same := func(o Scenario) bool { return o.Name == s.Name }
			switch {
			case slices.ContainsFunc(scored, same) || slices.ContainsFunc(unscored, same):
			case s.Unscored == "":
				scored = append(scored, s)
			default:
				unscored = append(unscored, s)
			}
		}
	}
	return append(scored, unscored...)
}

// cell is "pass", "fail", "-" where the run has no such scenario, and through the
// broker "exception" or "FAIL" where direct service passes more.
func (c Column) cell(scenario string) string {
	i := slices.IndexFunc(c.Scenarios, func(s Scenario) bool { return s.Name == scenario })
	of := func(f Finding) bool { return f.Scenario == scenario }
	switch {
	case i < 0:
		return "-"
	case slices.ContainsFunc(c.Fresh, of):
		return "FAIL"
	case slices.ContainsFunc(c.Findings, of):
		return "exception"
	case c.Scenarios[i].Passed():
		return "pass"
	}
	return "fail"
}

// Count says how many scenarios the suite scores, and how many of them it takes for
// passed, exceptions or not.
func (c Column) Count() string {
	scored, passed := 0, 0
	for _, s := range c.Scenarios {
		if s.Unscored == "" {
			scored++
			if s.Passed() {
				passed++
			}
		}
	}
	return fmt.Sprintf("%d of %d", passed, scored)
}
