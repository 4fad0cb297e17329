// Command testlog reads the output of `go test -json` and says what a person, or
// CI, wants to know of it: go test's own line for each package as it comes, the
// output of what failed, and at the end which tests were skipped and why, which
// ran in a container, and the packages' lines once more. With -strict it ends
// with status 1 if a test was skipped for a reason that -allow does not match.
// gotestsum(1), which is known for the rest, refuses no skip.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// event is a line of test2json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

func (e event) name() string {
	return strings.TrimSpace(strings.TrimPrefix(e.Package, "github.com/fjmcp/fjmcp-broker/") + " " + e.Test)
}

// report collects what is to be said.
type report struct {
	out              io.Writer
	allow, container *regexp.Regexp
	output           map[string]*strings.Builder // by event.name
	packages         []string                    // go test's own lines
	ran, skipped     []string
	refused          []string
}

func main() {
	strict := flag.Bool("strict", false, "end with status 1 if a test was skipped without leave")
	allow := flag.String("allow", "FJMCP_TEST_FORGEJO_MCP|runs in the container of", "`pattern` of reasons for which a test may be skipped")
	container := flag.String("container", "^internal/test/(nspawn|e2e) |InContainer", "`pattern` of tests that run in a container")
	flag.Parse()
	r := &report{
		out: os.Stdout, output: map[string]*strings.Builder{},
		allow: regexp.MustCompile(*allow), container: regexp.MustCompile(*container),
	}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
	r.end()
	if *strict && len(r.refused) > 0 {
		fmt.Fprintf(os.Stderr, "\n%d test(s) that must run were skipped:\n  %s\n", len(r.refused), strings.Join(r.refused, "\n  "))
		os.Exit(1)
	}
}

// read passes on lines that are no JSON (make's, the compiler's).
func (r *report) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(r.out, lines.Text())
			continue
		}
		r.add(e)
	}
	return lines.Err()
}

func (r *report) add(e event) {
	switch e.Action {
	case "output":
		r.keep(e)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "fail":
		fmt.Fprintf(r.out, "FAILED %s\n%s", e.name(), r.text(e))
	case "skip":
		r.skip(e)
	case "pass":
		if e.Test != "" && r.container.MatchString(e.name()) {
			r.ran = append(r.ran, fmt.Sprintf("%s (%.1fs)", e.name(), e.Elapsed))
		}
	}
}

// packageLine matches go test's line about a package.
var packageLine = regexp.MustCompile(`^(ok|FAIL|\?) *\t`)

func (r *report) keep(e event) {
	if e.Test == "" && packageLine.MatchString(e.Output) {
		r.packages = append(r.packages, e.Output)
		fmt.Fprint(r.out, e.Output)
		return
	}
	if r.output[e.name()] == nil {
		r.output[e.name()] = &strings.Builder{}
	}
	r.output[e.name()].WriteString(e.Output)
}

func (r *report) text(e event) string {
	if b := r.output[e.name()]; b != nil {
		return b.String()
	}
	return ""
}

// skip tells a skipped test from a package without tests.
func (r *report) skip(e event) {
	if e.Test == "" {
		return
	}
	reason := "no reason given"
	for line := range strings.Lines(r.text(e)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			reason = line
		}
	}
	said := e.name() + ": " + reason
	r.skipped = append(r.skipped, said)
	if !r.allow.MatchString(reason) {
		r.refused = append(r.refused, said)
	}
}

func (r *report) end() {
	for _, s := range []struct {
		title string
		lines []string
	}{{"skipped", r.skipped}, {"passed in a container", r.ran}} {
		if len(s.lines) > 0 {
			fmt.Fprintf(r.out, "\n%s:\n  %s\n", s.title, strings.Join(s.lines, "\n  "))
		}
	}
	fmt.Fprintf(r.out, "\ngo test:\n%s", strings.Join(r.packages, ""))
}
