package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/test/npm"
)

// Revisions whose requirements are run.
const (
	Revision2025 = "2025-11-25"
	Revision2026 = "2026-07-28"
)

// Suite is the installed conformance suite.
type Suite struct{ node, script string }

// Install finds the suite and the Node.js it needs, from the npm registry or the
// cache of tests. The npm package node would fetch its program by a script, past
// the lock file; what it fetches is a package as well.
func Install(ctx context.Context) (*Suite, error) {
	dir, err := npm.Install(ctx, "testdata/npm")
	if err != nil {
		return nil, err
	}
	modules := filepath.Join(dir, "node_modules")
	arch := strings.Replace(runtime.GOARCH, "amd64", "x64", 1)
	return &Suite{
		node:   filepath.Join(modules, "node-linux-"+arch, "bin", "node"),
		script: filepath.Join(modules, "@modelcontextprotocol", "conformance", "dist", "index.js"),
	}, nil
}

// Scenario is what one scenario of the suite found.
type Scenario struct {
	Name string
	// Unscored says why the suite does not count it; empty when it does.
	Unscored string
	Checks   []Check
}

// Check is one finding, as the suite writes it.
type Check struct {
	ID      string `json:"id"`
	Status  Status `json:"status"`
	Message string `json:"errorMessage"`
}

// Status is the suite's verdict.
type Status string

// Verdicts. A scenario fails by a FAILURE alone; a WARNING is a SHOULD that was
// not kept.
const (
	Success Status = "SUCCESS"
	Failure Status = "FAILURE"
	Warning Status = "WARNING"
	Skipped Status = "SKIPPED"
	Info    Status = "INFO"
)

// Passed reports whether the suite takes the scenario for passed.
func (s Scenario) Passed() bool {
	for _, c := range s.Checks {
		if c.Status == Failure {
			return false
		}
	}
	return true
}

var (
	startLine    = regexp.MustCompile(`(?m)^=== Running scenario: (\S+) ===$`)
	unscoredLine = regexp.MustCompile(`(?m)^  [✓✗] (\S+) \(([a-z-]+)\)$`)
)

// Run holds the server at url against all that revision requires and returns the
// scenarios in the suite's order. dir is an empty directory for its results.
func (s *Suite) Run(ctx context.Context, url, revision, dir string) ([]Scenario, error) {
	cmd := exec.CommandContext(ctx, s.node, s.script, "server", "--url", url, "--requirements", revision, "--output-dir", dir)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError // also when a scored scenario fails
	if err != nil && !errors.As(err, &failed) {
		return nil, fmt.Errorf("cannot run the conformance suite: %w", err)
	}
	started := startLine.FindAllStringSubmatch(string(out), -1)
	if len(started) == 0 || !strings.Contains(string(out), "=== SUMMARY ===") {
		return nil, fmt.Errorf("the conformance suite did not run to its end: %v\n%s", err, out)
	}
	unscored := map[string]string{}
	for _, m := range unscoredLine.FindAllStringSubmatch(string(out), -1) {
		unscored[m[1]] = m[2]
	}
	all := make([]Scenario, len(started))
	for i, m := range started {
		checks, err := readChecks(dir, m[1])
		if err != nil {
			return nil, err
		}
		all[i] = Scenario{Name: m[1], Unscored: unscored[m[1]], Checks: checks}
	}
	return all, nil
}

// readChecks reads what a scenario left in a directory of its name and time. One
// that broke off has left nothing, which is a failure.
func readChecks(dir, scenario string) ([]Check, error) {
	const anyTime = "-????-??-??T??-??-??-???Z"
	found, err := filepath.Glob(filepath.Join(dir, "server-"+scenario+anyTime, "checks.json"))
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return []Check{{ID: scenario, Status: Failure, Message: "the scenario left no result"}}, nil
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		return nil, err
	}
	var checks []Check
	if err := json.Unmarshal(b, &checks); err != nil {
		return nil, fmt.Errorf("cannot read the result of %s: %w", scenario, err)
	}
	return checks, nil
}
