package inject

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

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

// process is a confined child.
type process struct {
	*os.Process
	warning string           // what of the confinement is missing; empty for nothing
	exited  chan struct{}    // closed when it has ended
	state   *os.ProcessState // valid then
}

// errConfine wraps failures of the confinement, to tell them from those of exec.
var errConfine = errors.New("cannot confine the backend")

// startConfined runs argv[0], an absolute path, on a thread of its own that is
// confined first and never used for anything else. ports are the TCP ports it
// may connect to. The child is killed when this process dies.
func startConfined(argv, env []string, files []*os.File, ports []int) (*process, error) {
	p := &process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and only then does
		// the kernel send the child its death signal.
		runtime.LockOSThread()
		var err error
		if p.warning, err = confineThread(argv[0], ports); err == nil {
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

// confineThread gives up, for the calling thread and its children, what a
// backend must not have.
func confineThread(binary string, ports []int) (warning string, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fmt.Errorf("%w: cannot set no_new_privs: %w", errConfine, err)
	}
	switch err := restrictPaths(binary, ports); {
	case errors.Is(err, errNoLandlock):
		warning = err.Error() + ": the backend sees all files its user may see"
	case err != nil:
		return "", fmt.Errorf("%w: %w", errConfine, err)
	}
	if err := restrictCalls(); err != nil {
		return "", fmt.Errorf("%w: %w", errConfine, err)
	}
	return warning, nil
}
