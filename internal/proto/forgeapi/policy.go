package forgeapi

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Variable names the operator's setting.
const Variable = "FJMCP_BROKER_FORGEJO_ROUTES"

const (
	wordOpen    = "open"
	wordClose   = "close"
	wordDefault = "default"    // alone: the table as delivered
	everything  = "everything" // also what is not in the table
)

// maxRules bounds a policy.
const maxRules = 200

var (
	methods        = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	segmentPattern = regexp.MustCompile(`^(\*|[A-Za-z0-9_.-]+)$`)
)

// Policy is the table with the operator's changes. The zero Policy is the table as
// delivered.
type Policy struct{ rules []rule }

// rule opens or closes a class, everything, or paths below Root with all below them.
type rule struct {
	word   string // as written, without open: or close:
	open   bool
	class  string   // "" for a path
	method string   // "" for all
	path   []string // in lower case; * for any segment
}

// ParsePolicy reads words separated by white space: open: or close:, then a class of the
// table, the word everything, or a path below /api/v1 such as /user/emails, perhaps after
// a method, as in POST/repos/*/*/statuses, where * is any one segment. A later word counts
// more than an earlier one. The error names every faulty word.
func ParsePolicy(value string) (Policy, error) {
	var p Policy
	var faults []string
	words := strings.Fields(value)
	if slices.Equal(words, []string{wordDefault}) {
		return p, nil
	}
	for _, word := range words {
		r, ok := parseRule(word)
		if !ok {
			faults = append(faults, fmt.Sprintf("%q", word))
		}
		p.rules = append(p.rules, r)
	}
	switch {
	case len(faults) > 0:
		return Policy{}, fmt.Errorf("want open: or close: and after it %s, or a path below %s such as /user/emails or POST/repos/*/*/statuses, without escapes, dot segments or a slash at the end; faulty: %s",
			strings.Join(append(slices.Clone(Classes()), everything), ", "), Root, strings.Join(faults, ", "))
	case len(p.rules) > maxRules:
		return Policy{}, fmt.Errorf("want at most %d words, got %d", maxRules, len(p.rules))
	}
	return p, nil
}

func parseRule(word string) (rule, bool) {
	verb, what, _ := strings.Cut(word, ":")
	r := rule{word: what, open: verb == wordOpen}
	method, path, isPath := strings.Cut(what, "/")
	switch {
	case !r.open && verb != wordClose:
		return r, false
	case !isPath:
		r.class = what
		return r, what == everything || slices.Contains(Classes(), what)
	}
	r.method, r.path = method, strings.Split(strings.ToLower(path), "/")
	// /api/v1/… would match nothing, and stars alone are the word everything.
	return r, (method == "" || slices.Contains(methods, method)) && r.path[0] != "api" && strings.Trim(path, "*/") != "" &&
		!slices.ContainsFunc(r.path, func(s string) bool { return !segmentPattern.MatchString(s) || s == "." || s == ".." })
}

// Classes returns those of the table, sorted.
var Classes = sync.OnceValue(func() []string {
	var all []string
	for _, r := range Routes() {
		all = append(all, r.Class)
	}
	slices.Sort(all)
	return slices.Compact(all)
})

// String is the policy as ParsePolicy takes it.
func (p Policy) String() string {
	if len(p.rules) == 0 {
		return wordDefault
	}
	words := make([]string, len(p.rules))
	for i, r := range p.rules {
		words[i] = wordClose + ":" + r.word
		if r.open {
			words[i] = wordOpen + ":" + r.word
		}
	}
	return strings.Join(words, " ")
}

// Decision is what a Policy says of a request.
type Decision struct {
	Open     bool
	Repo     string    // owner/name of the repository that all of its routes name, "" for none
	meanings []meaning // of the path
}

// meaning is a route that a path may mean, and the path's segments as it reads them.
type meaning struct {
	line
	path []string
}

// Has reports whether one of the routes that the path may mean is of class.
func (d Decision) Has(class string) bool {
	return slices.ContainsFunc(d.meanings, func(m meaning) bool { return m.class == class })
}

// Routes are those that the path may mean, without those of which others say the same path
// more closely: the forge takes these.
func (d Decision) Routes() []Route {
	var all []Route
	for _, m := range d.meanings {
		if !slices.ContainsFunc(d.meanings, func(o meaning) bool { return m.wider(o.line) && !o.wider(m.line) }) {
			all = append(all, m.route())
		}
	}
	return all
}

// Decide judges a request for the escaped path (url.URL.EscapedPath), below where the
// forge lives. It is open if each route that the path may mean is, and there is one. The
// error says that the path may be read in several ways.
func (p Policy) Decide(method, escaped string) (Decision, error) {
	path, flat, err := split(escaped)
	if err != nil || !slices.Contains(methods, method) {
		return Decision{}, err
	}
	d := Decision{Open: true}
	judge := func(path []string) {
		matching(method, path, func(l line) {
			m := meaning{l, path}
			if repo := m.repo(); len(d.meanings) == 0 || repo == d.Repo {
				d.Repo = repo
			} else {
				d.Repo = ""
			}
			d.meanings = append(d.meanings, m)
			d.Open = d.Open && p.opens(l.class, method, flat, l.open)
		})
	}
	judge(path)
	if len(flat) > len(path) {
		judge(flat)
	}
	if len(d.meanings) == 0 {
		d.Open = p.opens("", method, flat, false)
	}
	return d, nil
}

// opens applies the rules to a route that is open or not by default.
func (p Policy) opens(class, method string, flat []string, open bool) bool {
	for _, r := range p.rules {
		if r.covers(class, method, flat) {
			open = r.open
		}
	}
	return open
}

func (r rule) covers(class, method string, flat []string) bool {
	if r.class != "" {
		return r.class == everything || r.class == class
	}
	if r.method != "" && r.method != method && !(r.method == "GET" && method == "HEAD") {
		return false
	}
	if len(flat) < len(r.path)+2 || flat[0] != "api" || flat[1] != "v1" {
		return false
	}
	for i, want := range r.path {
		if want != "*" && want != strings.ToLower(flat[i+2]) {
			return false
		}
	}
	return true
}
