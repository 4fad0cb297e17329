// Command testlog reads the output of `go test -json` and says what CI wants to
// know of it: which tests were skipped and why, what ran in a container, the
// output of what failed, and last go test's own line for each package. It ends
// with status 1 if a test was skipped for a reason that does not contain the
// -allow text. Only .ci/run uses it.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is a line of test2json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build output
	Elapsed                       float64
}

// report collects what is to be said.
type report struct {
	allow, container string
	output           map[string]*strings.Builder // by package and test
	packages         []string                    // go test's own lines
	ran, skipped     []string
	failed           []string
	refused          int
}

func main() {
	allow := flag.String("allow", "", "skips whose reason contains this `text` are in order")
	container := flag.String("container", "internal/nspawn internal/e2e", "`packages` whose tests run in a container")
	flag.Parse()
	r := &report{allow: *allow, container: *container, output: map[string]*strings.Builder{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
	r.print(os.Stdout)
	if r.refused > 0 {
		fmt.Fprintf(os.Stderr, "\n%d test(s) that must run were skipped\n", r.refused)
		os.Exit(1)
	}
}

// read takes lines that are no JSON (make's, the compiler's) as they are.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Println(lines.Text())
			continue
		}
		r.add(e)
	}
	return lines.Err()
}

func (r *report) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		r.keep(key, e)
	case "build-output":
		fmt.Print(e.Output)
	case "skip":
		r.skip(key, e)
	case "fail":
		if e.Test != "" || !strings.Contains(r.text(key), "--- FAIL") {
			r.failed = append(r.failed, key)
		}
	case "pass":
		if e.Test != "" && r.inContainer(e.Package) {
			r.ran = append(r.ran, fmt.Sprintf("%s (%.1fs)", key, e.Elapsed))
		}
	}
}

func (r *report) inContainer(pkg string) bool {
	for suffix := range strings.FieldsSeq(r.container) {
		if strings.HasSuffix(pkg, suffix) {
			return true
		}
	}
	return false
}

func (r *report) keep(key string, e event) {
	if e.Test == "" && (strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "FAIL\t") || strings.HasPrefix(e.Output, "?")) {
		r.packages = append(r.packages, e.Output)
	}
	if r.output[key] == nil {
		r.output[key] = &strings.Builder{}
	}
	r.output[key].WriteString(e.Output)
}

func (r *report) text(key string) string {
	if b := r.output[key]; b != nil {
		return b.String()
	}
	return ""
}

// skip tells a skipped test from a package without tests.
func (r *report) skip(key string, e event) {
	if e.Test == "" {
		return
	}
	reason := "no reason given"
	for line := range strings.Lines(r.text(key)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			reason = line
		}
	}
	r.skipped = append(r.skipped, key+": "+reason)
	if r.allow == "" || !strings.Contains(reason, r.allow) {
		r.refused++
	}
}

func (r *report) print(w io.Writer) {
	section(w, "skipped", r.skipped)
	section(w, "passed in a container", r.ran)
	for _, key := range r.failed {
		fmt.Fprintf(w, "\nFAILED %s\n%s", key, r.text(key))
	}
	fmt.Fprintln(w)
	for _, line := range r.packages {
		fmt.Fprint(w, line)
	}
}

func section(w io.Writer, title string, lines []string) {
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n%s:\n  %s\n", title, strings.Join(lines, "\n  "))
	}
}
