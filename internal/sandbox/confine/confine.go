package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Harden makes the process undumpable: its memory, environment and descriptors
// are out of reach for other processes of its uid. To be called before anything
// secret is read.
func Harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot make the process undumpable: %w", err)
	}
	return nil
}

// Process is a confined child.
type Process struct {
	*os.Process
	// Warning says what of the confinement is missing; empty for nothing.
	Warning string
	// AnyPort: its TCP connections are not bound to ports, since the kernel's Landlock
	// is older than ABI 4 (Linux 6.7).
	AnyPort bool

	exited chan struct{}
	state  *os.ProcessState
}

// Exited is closed when the child has ended and was reaped.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// State says how the child ended; valid once Exited is closed, nil where the
// kernel would not tell.
func (p *Process) State() *os.ProcessState { return p.state }

const (
	// niceness is the child's (setpriority(2)): what it answers is passed on before it
	// begins with its next.
	niceness = 5
	// timerSlack is how late its timers may be (PR_SET_TIMERSLACK(2const)). A Go program
	// has a thread that looks after the others every 20 µs while one of them runs; with
	// this it sleeps from one call to the next.
	timerSlack = 5 * time.Millisecond
)

// ErrConfine wraps failures of the confinement; Start's other errors are those of
// os.StartProcess.
var ErrConfine = errors.New("cannot confine the backend")

// Start runs argv[0], an absolute path, on a thread of its own that is
// confined first and never used for anything else. ports are the TCP ports it
// may connect to. The child is killed when this process dies.
func Start(argv, env []string, files []*os.File, ports []int) (*Process, error) {
	return start(argv, env, files, ports, landlockABI())
}

// start uses no more of Landlock than abi has, 0 for nothing.
func start(argv, env []string, files []*os.File, ports []int, abi int) (*Process, error) {
	p := &Process{exited: make(chan struct{}), AnyPort: abi < landlockNetwork}
	limit()
	started := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and only then does
		// the kernel send the child its death signal.
		runtime.LockOSThread()
		yield()
		var err error
		if p.Warning, err = confineThread(argv[0], ports, abi); err == nil {
			p.Process, err = os.StartProcess(argv[0], argv, &os.ProcAttr{
				Dir:   "/",
				Env:   env,
				Files: files,
				Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
			})
		}
		started <- err
		if err == nil {
			p.state, _ = p.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// limits are for this process and the backend, each by itself: bytes of data, open files,
// core dumps. They are those of a session's unit.
var limits = map[int]uint64{unix.RLIMIT_DATA: 1 << 30, unix.RLIMIT_NOFILE: 1024, unix.RLIMIT_CORE: 0}

// limit lowers what is higher. Nothing is lost where it cannot: a unit's system call filter
// forbids it, and the unit has the limits.
func limit() {
	for resource, most := range limits {
		var now unix.Rlimit
		if unix.Getrlimit(resource, &now) == nil && (now.Cur > most || now.Max > most) {
			_ = unix.Setrlimit(resource, &unix.Rlimit{Cur: min(now.Cur, most), Max: min(now.Max, most)})
		}
	}
}

// yield has the calling thread and its children stand back behind what they work for.
// Nothing is lost where it cannot. A unit's system call filter forbids the first: the
// unit has its own Nice=.
func yield() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0)
}

// confineThread gives up, for the calling thread and its children, what a
// backend must not have.
func confineThread(binary string, ports []int, abi int) (warning string, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fmt.Errorf("%w: cannot set no_new_privs: %w", ErrConfine, err)
	}
	if err := dropCapabilities(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrConfine, err)
	}
	switch err := restrictPaths(binary, ports, abi); {
	case errors.Is(err, errNoLandlock):
		warning = err.Error() + ": the backend sees all files its user may see"
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrConfine, err)
	}
	if err := restrictCalls(abi >= landlockScopes); err != nil {
		return "", fmt.Errorf("%w: %w", ErrConfine, err)
	}
	return warning, nil
}

// dropCapabilities leaves the calling thread and, no_new_privs being set, its
// children without any, even as root. A capability such as CAP_PERFMON opens
// /proc/<pid>/environ past Landlock and dumpability. Without capabilities it calls
// nothing that a unit's system call filter may kill for.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held, none [2]unix.CapUserData
	if err := unix.Capget(&header, &held[0]); err != nil {
		return fmt.Errorf("cannot read the capabilities: %w", err)
	}
	if held == none {
		return nil
	}
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("cannot drop capabilities: %w", err)
	}
	return nil
}
