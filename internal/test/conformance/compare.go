package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
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
