package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Finding names a check of a scenario that passes directly and does not through
// the broker.
type Finding struct {
	Scenario, Check string
	Message         string // what the suite says; of an exception, why it stands
}

func (f Finding) name() string { return f.Scenario + " " + f.Check }

// Compare lists what passes directly and not through the broker. It is stricter
// than the suite: a warning counts as much as a failure, for unscored scenarios,
// too, and so does a check that was skipped. One that is missing counts only where
// nothing else of its scenario explains it.
func Compare(direct, through []Scenario) []Finding {
	var all []Finding
	for _, d := range direct {
		i := slices.IndexFunc(through, func(s Scenario) bool { return s.Name == d.Name })
		if i < 0 {
			all = append(all, Finding{d.Name, d.Name, "the scenario did not run"})
			continue
		}
		all = append(all, compareScenario(d, through[i])...)
	}
	return all
}

func compareScenario(direct, through Scenario) []Finding {
	passed, verdicts := worst(direct.Checks), worst(through.Checks)
	var bad, missing []Finding
	for _, id := range order(direct.Checks, through.Checks) {
		d, t := passed[id], verdicts[id]
		switch {
		case d.Status == Failure || d.Status == Warning || d.Status == Skipped: // does not pass directly either
		case t.Status == Failure || t.Status == Warning || t.Status == Skipped && d.Status == Success:
			bad = append(bad, Finding{direct.Name, id, fmt.Sprintf("%s: %s", t.Status, t.Message)})
		case d.Status == Success && t.Status == "":
			missing = append(missing, Finding{direct.Name, id, "the check did not run"})
		}
	}
	if bad == nil {
		return missing
	}
	return bad
}

// worst keeps the worst verdict of each check, which may stand several times.
func worst(checks []Check) map[string]Check {
	rank := []Status{Info, Skipped, Success, Warning, Failure}
	all := map[string]Check{}
	for _, c := range checks {
		if old, ok := all[c.ID]; !ok || slices.Index(rank, c.Status) > slices.Index(rank, old.Status) {
			all[c.ID] = c
		}
	}
	return all
}

// order lists the ids of both, each once.
func order(lists ...[]Check) []string {
	var ids []string
	for _, c := range slices.Concat(lists...) {
		if !slices.Contains(ids, c.ID) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

var exceptionRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\| (.+) \\|$")

// Exceptions reads the table below the heading "### run" of docs/conformance.md.
func Exceptions(doc, run string) ([]Finding, error) {
	_, section, found := strings.Cut(doc, "\n### "+run+"\n")
	if !found {
		return nil, fmt.Errorf("there is no heading %q", "### "+run)
	}
	section, _, _ = strings.Cut(section, "\n#")
	var all []Finding
	for _, m := range exceptionRow.FindAllStringSubmatch(section, -1) {
		all = append(all, Finding{m[1], m[2], m[3]})
	}
	if rows := strings.Count(section, "\n| `"); rows != len(all) {
		return nil, fmt.Errorf("%d of the %d rows below %q are not of the form | `scenario` | `check` | why |", rows-len(all), rows, run)
	}
	return all, nil
}

// Judge holds what was found against the exceptions: fresh has no exception, stale
// are exceptions that nothing was found for. One whose reason begins with
// "Sometimes" is for a warning that comes and goes; it covers no failure and is
// never stale.
func Judge(found, exceptions []Finding) (fresh, stale []Finding) {
	sometimes := func(e Finding) bool { return strings.HasPrefix(e.Message, "Sometimes ") }
	always := slices.DeleteFunc(slices.Clone(exceptions), sometimes)
	for _, f := range found {
		if !strings.HasPrefix(f.Message, string(Warning)) || !covers(exceptions, f) {
			fresh = append(fresh, f)
		}
	}
	return without(fresh, always), without(always, found)
}

// without returns the elements of a whose check is not in b.
func without(a, b []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(a), func(f Finding) bool { return covers(b, f) })
}

func covers(list []Finding, f Finding) bool {
	return slices.ContainsFunc(list, func(o Finding) bool { return o.name() == f.name() })
}

func scenario(name string, checks ...string) Scenario {
	s := Scenario{Name: name}
	for _, c := range checks {
		id, status, _ := strings.Cut(c, " ")
		s.Checks = append(s.Checks, Check{ID: id, Status: Status(status)})
	}
	return s
}

func names(findings []Finding) string {
	var all []string
	for _, f := range findings {
		all = append(all, f.name())
	}
	return strings.Join(all, ", ")
}

func TestCompare(t *testing.T) {
	for _, c := range []struct{ name, direct, through, want string }{
		{"both pass", "a SUCCESS", "a SUCCESS", ""},
		{"failure", "a SUCCESS,b SUCCESS", "a FAILURE,b SUCCESS", "s a"},
		{"warning", "a SUCCESS", "a WARNING", "s a"},
		{"skipped", "a SUCCESS", "a SKIPPED", "s a"},
		{"the worst of several counts", "a SUCCESS", "a SUCCESS,a FAILURE,a SUCCESS", "s a"},
		{"one of several fails directly", "a SUCCESS,a WARNING", "a WARNING", ""},
		{"fails directly", "a FAILURE,b WARNING,c SKIPPED", "a FAILURE,b FAILURE,c FAILURE", ""},
		{"told only", "a INFO", "", ""},
		{"told only, then wrong", "a INFO", "a FAILURE", "s a"},
		{"a check of failures only", "a SUCCESS", "a SUCCESS,error FAILURE", "s error"},
		{"missing", "a SUCCESS,b SUCCESS", "a SUCCESS", "s b"},
		{"missing after a failure", "a SUCCESS,b SUCCESS", "a FAILURE", "s a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Compare([]Scenario{scenario("s", strings.Split(c.direct, ",")...)}, []Scenario{scenario("s", strings.Split(c.through, ",")...)})
			if names(got) != c.want {
				t.Errorf("got %q, want %q", names(got), c.want)
			}
		})
	}
	if got := Compare([]Scenario{scenario("s", "a SUCCESS")}, nil); names(got) != "s s" {
		t.Errorf("a scenario that did not run: %q", names(got))
	}
}

const page = "# Page\n\n### one\n\n| scenario | check | why |\n|---|---|---|\n| `s` | `a` | Because. |\n| `s` | `b` | So. |\n\n### two\n\nNone.\n"

func TestExceptions(t *testing.T) {
	one, err := Exceptions(page, "one")
	if err != nil || names(one) != "s a, s b" || one[1].Message != "So." {
		t.Fatalf("read %v, %v", one, err)
	}
	if two, err := Exceptions(page, "two"); err != nil || len(two) != 0 {
		t.Errorf("read %v, %v", two, err)
	}
	if _, err := Exceptions(page, "three"); err == nil {
		t.Error("a run without a heading has no error")
	}
	if _, err := Exceptions(strings.Replace(page, "| Because. ", "", 1), "one"); err == nil {
		t.Error("a row without a reason has no error")
	}
}

func TestJudge(t *testing.T) {
	exceptions := []Finding{{"s", "a", "Because."}, {"s", "b", "Because."}, {"s", "c", "Sometimes a warning."}, {"s", "d", "Sometimes a warning."}, {"s", "e", "Sometimes a warning."}}
	found := []Finding{{"s", "b", "FAILURE: x"}, {"t", "b", "WARNING: x"}, {"s", "c", "WARNING: x"}, {"s", "d", "FAILURE: x"}}
	fresh, stale := Judge(found, exceptions)
	if got := names(fresh); got != "t b, s d" {
		t.Errorf("fresh: %q", got)
	}
	if got := names(stale); got != "s a" {
		t.Errorf("stale: %q", got)
	}
}

func TestTable(t *testing.T) {
	direct := Column{Revision: "1", Name: "direct", Scenarios: []Scenario{scenario("a", "x SUCCESS"), scenario("b", "x SUCCESS"), scenario("c", "x SUCCESS"), scenario("d", "x FAILURE")}}
	direct.Scenarios[3].Unscored = "pending"
	through := Column{Revision: "1", Name: "broker", Scenarios: []Scenario{scenario("a", "x SUCCESS"), scenario("b", "x FAILURE"), scenario("c", "x FAILURE"), scenario("d", "x FAILURE")}}
	through.Scenarios[3].Unscored = "pending"
	through.Findings = Compare(direct.Scenarios, through.Scenarios)
	through.Fresh = through.Findings[1:]
	var got strings.Builder
	for line := range strings.Lines(Table([]Column{direct, through, {Revision: "2", Name: "none"}})) {
		fmt.Fprintln(&got, strings.Join(strings.Fields(line), " "))
	}
	want := `1 1 2
scenario direct broker none
a pass pass -
b pass exception -
c pass FAIL -
d (pending) fail fail -

scored and passed 3 of 3 1 of 3 0 of 0
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
