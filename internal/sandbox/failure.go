package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/confine"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/forgeproxy"
	"golang.org/x/sys/unix"
)

// Exit statuses, named as in sysexits.h.
const (
	exitUnavailable = 69
	exitSoftware    = 70
	exitOSErr       = 71
	exitOSFile      = 72
	exitNoPerm      = 77
	ExitConfig      = 78 // for the caller of ConfigFromEnv and Descriptors
)

var exitStatus = map[control.Reason]int{
	control.ReasonForgeUnreachable:     exitUnavailable,
	control.ReasonCrashed:              exitSoftware,
	control.ReasonInternal:             exitOSErr,
	control.ReasonBackendMissing:       exitOSFile,
	control.ReasonBackendNotExecutable: exitOSFile,
	control.ReasonBackendTooOld:        exitOSFile,
	control.ReasonTokenRefused:         exitNoPerm,
}

// failure is why a session cannot start or has ended. Its text is for the
// operator.
type failure struct {
	reason control.Reason
	detail string
}

func (f *failure) Error() string { return f.detail }

func failed(r control.Reason, format string, a ...any) *failure {
	return &failure{reason: r, detail: fmt.Sprintf(format, a...)}
}

// asFailure makes any other error an internal failure.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return failed(control.ReasonInternal, "%v", err)
}

// checkBackend finds out before the sandbox blurs it whether binary can be run.
func checkBackend(binary string) error {
	info, err := os.Stat(binary)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return failed(control.ReasonBackendMissing, "there is no %s: install forgejo-mcp there or set FJMCP_BROKER_FORGEJO_MCP", binary)
	case err != nil:
		return failed(control.ReasonBackendNotExecutable, "cannot look at the backend: %v", err)
	case !info.Mode().IsRegular() || unix.Access(binary, unix.X_OK) != nil:
		return failed(control.ReasonBackendNotExecutable, "%s cannot be executed: want a program file with mode 0755", binary)
	}
	return nil
}

// startFailure classifies the error of startConfined.
func startFailure(binary string, err error) *failure {
	if errors.Is(err, confine.ErrConfine) {
		return failed(control.ReasonInternal, "%v", err)
	}
	return failed(control.ReasonBackendNotExecutable, "cannot execute %s: %v: want a program for this machine, with its libraries in /usr/lib", binary, cause(err))
}

// cause strips the path error around a system call's error.
func cause(err error) error {
	var e *os.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// forgeFailure tells whether the forge is why the backend ended: it never gave
// it a usable answer.
func forgeFailure(c forgeproxy.Contact) *failure {
	var why interface{ Reason() control.Reason }
	switch {
	case c.Served:
		return nil
	case c.Status == http.StatusUnauthorized, c.Status == http.StatusForbidden:
		return failed(control.ReasonTokenRefused, "the forge answered %d to the user's token", c.Status)
	case c.Answered:
		return failed(control.ReasonForgeUnreachable, "the forge answered %d", c.Status)
	case errors.As(c.Err, &why):
		return failed(why.Reason(), "the forge refused the user's token: %v", c.Err)
	case c.Err != nil:
		return failed(control.ReasonForgeUnreachable, "cannot reach the forge: %v", c.Err)
	}
	return nil
}

// backendOutput is what binary --version prints, run confined like the backend itself and
// without a way to the network, for at most limit.
func backendOutput(binary string, limit time.Duration) string {
	r, w, err := os.Pipe()
	if err != nil {
		return ""
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		w.Close()
		return ""
	}
	defer null.Close()
	p, err := confine.Start([]string{binary, "--version"}, nil, []*os.File{null, w, null}, nil)
	w.Close()
	if err != nil {
		return ""
	}
	defer time.AfterFunc(limit, func() { p.Kill() }).Stop()
	r.SetReadDeadline(time.Now().Add(limit))
	var out bytes.Buffer
	io.Copy(&out, io.LimitReader(r, 4<<10))
	return out.String()
}
