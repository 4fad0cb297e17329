// Command testlog reads the output of `go test -json` and says what a person, or
// CI, wants to know of it: go test's own line for each package as it comes, the
// output of what failed, and at the end which tests were skipped and why, which
// ran in a container, and the packages' lines once more. With -strict it ends
// with status 1 if a test was skipped for a reason that is not allowed.
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

var (
	// allowed are reasons for which a test may be skipped.
	allowed = regexp.MustCompile("FJMCP_TEST_FORGEJO_MCP|runs in the container of")
	// contained are tests that run in a container.
	contained = regexp.MustCompile("^internal/test/(nspawn|e2e|attack) |InContainer")
	// packageLine is go test's line about a package.
	packageLine = regexp.MustCompile(`^(ok|FAIL|\?) *\t`)
)

// event is a line of test2json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// report collects what is to be said.
type report struct {
	out                             io.Writer
	output                          map[string]string // by test
	packages, ran, skipped, refused []string
}

func main() {
	strict := flag.Bool("strict", false, "end with status 1 if a test was skipped without leave")
	flag.Parse()
	r := &report{out: os.Stdout, output: map[string]string{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
	if *strict && len(r.refused) > 0 {
		fmt.Fprintf(os.Stderr, "\n%d test(s) that must run were skipped:\n  %s\n", len(r.refused), strings.Join(r.refused, "\n  "))
		os.Exit(1)
	}
}

// read passes on lines that are no JSON (make's, the compiler's), and ends with the lists.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(r.out, lines.Text())
			continue
		}
		r.add(e, strings.TrimSpace(strings.TrimPrefix(e.Package, "github.com/fjmcp/fjmcp-broker/")+" "+e.Test))
	}
	r.list("skipped", r.skipped)
	r.list("passed in a container", r.ran)
	fmt.Fprintf(r.out, "\ngo test:\n%s", strings.Join(r.packages, ""))
	return lines.Err()
}

func (r *report) add(e event, test string) {
	switch {
	case e.Action == "output" && e.Test == "" && packageLine.MatchString(e.Output):
		r.packages = append(r.packages, e.Output)
		fmt.Fprint(r.out, e.Output)
	case e.Action == "output":
		r.output[test] += e.Output
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "fail":
		fmt.Fprintf(r.out, "FAILED %s\n%s", test, r.output[test])
	case e.Test == "": // a package that passed or has no tests
	case e.Action == "skip":
		r.skip(test)
	case e.Action == "pass" && contained.MatchString(test):
		r.ran = append(r.ran, fmt.Sprintf("%s (%.1fs)", test, e.Elapsed))
	}
}

func (r *report) skip(test string) {
	reason := "no reason given"
	for line := range strings.Lines(r.output[test]) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			reason = line
		}
	}
	r.skipped = append(r.skipped, test+": "+reason)
	if !allowed.MatchString(reason) {
		r.refused = append(r.refused, test+": "+reason)
	}
}

func (r *report) list(title string, lines []string) {
	if len(lines) > 0 {
		fmt.Fprintf(r.out, "\n%s:\n  %s\n", title, strings.Join(lines, "\n  "))
	}
}
