// Package nspawn boots a Debian with a real systemd in a container, for tests
// and for `make demo`.
//
// Root builds (once a month, with mmdebstrap) the tree a container starts
// from; Boot starts systemd-nspawn on it with a writable layer in memory, so
// that the tree itself never changes and any number of containers may share
// it. A Container runs commands, takes files, shows its journal, and gives out
// connections and listeners of its own network namespace, which has a loopback
// and nothing else.
//
// Nothing outlives a run: all of a container's processes stand in a cgroup
// named after the process that booted it, Close empties and removes it, and a
// later Boot clears what a killed run left.
//
// It needs root; Check says what is missing.
package nspawn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// Container is a running container.
type Container struct {
	name    string
	cgroups []string
	leader  int // its PID 1, as the host sees it
	close   func() error

	// Of systemd-nspawn.
	proc    *os.Process
	exited  chan struct{}
	console testlog.Buffer
}

// Boot starts a container on the tree root (see Root) and returns when its
// systemd has come up without a failed unit, within a minute. Changes go to a
// layer in memory. The caller must Close it.
func Boot(ctx context.Context, root string) (*Container, error) {
	if err := cmp.Or(Check(), Sweep()); err != nil {
		return nil, err
	}
	name, err := newName()
	if err != nil {
		return nil, err
	}
	c := &Container{name: name, exited: make(chan struct{})}
	c.close = sync.OnceValue(c.end)
	if err := c.boot(ctx, root); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot boot a container: %w\n%s", err, tail(c.console.String(), 2000)), c.Close())
	}
	return c, nil
}

func (c *Container) boot(ctx context.Context, root string) error {
	var err error
	if c.cgroups, err = makeCgroups(c.name); err != nil {
		return err
	}
	if err := c.start(c.command(root)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.await(ctx, c.findLeader); err != nil {
		return fmt.Errorf("its PID 1 did not appear: %w", err)
	}
	return c.awaitRunning(ctx)
}

// command enters the container's cgroups and becomes systemd-nspawn.
// --volatile=overlay puts a layer in memory over the tree, within
// systemd-nspawn's own mount namespace; --read-only makes its lock on the tree
// a shared one. The landlock calls are missing in the filter of systemd 252.
func (c *Container) command(root string) *exec.Cmd {
	var script strings.Builder
	for _, dir := range c.cgroups {
		fmt.Fprintf(&script, "echo $$ > %s/cgroup.procs && ", dir)
	}
	args := []string{"-c", script.String() + `exec systemd-nspawn "$@"`, "systemd-nspawn",
		"--quiet", "--directory=" + root, "--read-only", "--volatile=overlay", "--boot",
		"--machine=" + c.name, "--hostname=fjmcp-test", "--register=no", "--keep-unit",
		"--private-network", "--resolv-conf=off", "--link-journal=no", "--console=pipe",
		"--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
	}
	return exec.Command("/bin/sh", args...)
}

// start runs the command on a thread of its own that lives as long as the
// command: should this process be killed, the kernel sends systemd-nspawn
// SIGTERM, on which it powers the container off (the signal is tied to the
// thread that forked).
func (c *Container) start(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = &c.console, &c.console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(c.exited)
		err := cmd.Start()
		if err == nil {
			c.proc = cmd.Process
		}
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	return <-started
}

// isInit matches the /proc/pid/status of process 1 of a pid namespace below ours.
var isInit = regexp.MustCompile(`(?m)^NSpid:(\t\d+)+\t1$`)

// findLeader looks for the container's PID 1: the child of systemd-nspawn that
// is process 1 of a pid namespace.
func (c *Container) findLeader(context.Context) bool {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", c.proc.Pid))
	for _, child := range strings.Fields(string(children)) {
		status, _ := os.ReadFile("/proc/" + child + "/status")
		if isInit.Match(status) {
			c.leader, _ = strconv.Atoi(child)
			return true
		}
	}
	return false
}

func (c *Container) awaitRunning(ctx context.Context) error {
	var state string
	err := c.await(ctx, func(ctx context.Context) bool {
		out, _ := c.enter(ctx, "systemctl", "is-system-running", "--wait").Output()
		state = strings.TrimSpace(string(out))
		return state == "running" || state == "degraded"
	})
	if err != nil {
		return fmt.Errorf("its systemd is %q: %w", state, err)
	}
	if state == "degraded" {
		out, _ := c.enter(ctx, "systemctl", "--failed", "--plain").Output()
		return fmt.Errorf("units failed:\n%s", out)
	}
	return nil
}

// await calls cond until it is true, the container has ended or ctx is over.
func (c *Container) await(ctx context.Context, cond func(context.Context) bool) error {
	for !cond(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.exited:
			return errors.New("the container has ended")
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// Leader returns the pid of the container's PID 1 on the host.
func (c *Container) Leader() int { return c.leader }

// Close powers the container off, ends whatever is left of it, and removes its
// cgroups. It fails if something could not be removed. Later calls return the
// first one's result.
func (c *Container) Close() error { return c.close() }

func (c *Container) end() error {
	if c.proc != nil {
		c.powerOff()
	}
	return clearCgroups(c.cgroups)
}

// powerOff asks systemd-nspawn to halt the container (SIGTERM) and gives it 20
// seconds before it kills.
func (c *Container) powerOff() {
	c.proc.Signal(syscall.SIGTERM)
	select {
	case <-c.exited:
		return
	case <-time.After(20 * time.Second):
	}
	for _, dir := range c.cgroups {
		killAll(dir)
	}
	c.proc.Kill()
	<-c.exited
}
