package nspawn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
)

// Cmd is a command to run inside.
type Cmd struct {
	Argv  []string
	Stdin io.Reader
	User  string   // empty: root
	Env   []string // NAME=value
}

// Result is what a command wrote and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int // exit status; 128 and more when a signal ended it
}

var runs atomic.Int64

// Exec runs a command as a transient unit of the container (systemd-run), which
// gives it the rights it would have there, not those of the host's root. A
// command that fails is no error: see Result.Code.
func (c *Container) Exec(ctx context.Context, cmd Cmd) (Result, error) {
	// The name it would have follows the bus's count of clients, which begins anew
	// with the bus.
	name := fmt.Sprintf("--unit=exec-%d", runs.Add(1))
	args := []string{"systemd-run", "--quiet", "--pipe", "--wait", "--collect", name}
	if cmd.User != "" {
		args = append(args, "--uid="+cmd.User)
	}
	for _, e := range cmd.Env {
		args = append(args, "--setenv="+e)
	}
	return c.capture(c.enter(ctx, append(append(args, "--"), cmd.Argv...)...), cmd.Stdin)
}

// Run runs a command as root (see Exec) and returns what it wrote to standard
// output. Any exit status but 0 is an error that quotes its output.
func (c *Container) Run(ctx context.Context, argv ...string) (string, error) {
	r, err := c.Exec(ctx, Cmd{Argv: argv})
	if err != nil {
		return r.Stdout, err
	}
	if r.Code != 0 {
		return r.Stdout, fmt.Errorf("%s: exit status %d: %s", strings.Join(argv, " "), r.Code,
			tail(strings.TrimSpace(r.Stdout+"\n"+r.Stderr), 4000))
	}
	return r.Stdout, nil
}

// Shell runs a script with `sh -euc`; otherwise it is Run.
func (c *Container) Shell(ctx context.Context, script string) (string, error) {
	return c.Run(ctx, "/bin/sh", "-euc", script)
}

func (c *Container) capture(cmd *exec.Cmd, stdin io.Reader) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err := cmd.Run()
	r := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.Code = exit.ExitCode()
		if r.Code >= 0 {
			return r, nil
		}
	}
	if err != nil {
		return r, fmt.Errorf("cannot run in the container: %w", err)
	}
	return r, nil
}

// enter runs a command with the host root's capabilities in the container's
// namespaces: for systemctl, systemd-run and journalctl only. (`date -s` would
// move the host's clock.) --root and --wd matter where this process lives in a
// chroot itself: the container then has its root within it.
func (c *Container) enter(ctx context.Context, argv ...string) *exec.Cmd {
	args := append([]string{"--target=" + strconv.Itoa(c.leader), "--all", "--root", "--wd", "--"}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	return cmd
}

// Entry is one journal entry, by field name.
type Entry map[string]string

// Journal returns the entries that journalctl(1) selects by the given matches
// and options, oldest first.
func (c *Container) Journal(ctx context.Context, args ...string) ([]Entry, error) {
	argv := append([]string{"journalctl", "--no-pager", "--quiet", "--all", "--output=json"}, args...)
	r, err := c.capture(c.enter(ctx, argv...), nil)
	if err != nil {
		return nil, err
	}
	if r.Code > 1 || (r.Code == 1 && r.Stderr != "") { // 1 alone: nothing matched
		return nil, fmt.Errorf("journalctl: exit status %d: %s", r.Code, r.Stderr)
	}
	return parseJournal(r.Stdout)
}

func parseJournal(text string) ([]Entry, error) {
	var entries []Entry
	for line := range strings.Lines(text) {
		var raw map[string]any
		if err := json.Unmarshal([]byte(line), &raw); err != nil {
			return nil, fmt.Errorf("cannot read the journal: %w", err)
		}
		e := make(Entry, len(raw))
		for name, v := range raw {
			e[name] = journalText(v)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// journalText renders a field: a string, bytes as an array of numbers where it
// is not UTF-8, or an array of those where it occurs more than once.
func journalText(v any) string {
	list, _ := v.([]any)
	var parts []string
	sep := ""
	for _, item := range list {
		if n, ok := item.(float64); ok {
			parts = append(parts, string([]byte{byte(n)}))
			continue
		}
		parts, sep = append(parts, journalText(item)), "\n"
	}
	if text, ok := v.(string); ok {
		return text
	}
	return strings.Join(parts, sep)
}
