package conformance

import (
	"fmt"
	"strings"
	"testing"
)

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
