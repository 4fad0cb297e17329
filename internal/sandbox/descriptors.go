package sandbox

import (
	"errors"
	"fmt"
	"os"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"golang.org/x/sys/unix"
)

// Descriptors takes over descriptor 0, the MCP stream socket, and 1, the control
// socket, and leaves /dev/null in their places: what is inherited by accident, or
// printed, then does no harm.
func Descriptors() (mcp *os.File, ctl *control.Conn, err error) {
	ctl, err = control.FromFile(os.Stdout)
	if err != nil {
		return nil, nil, fmt.Errorf("descriptor 1: %w: fjmcp-session is started by fjmcp-launcher, not by hand", err)
	}
	if kind, err := unix.GetsockoptInt(0, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, ctl, errors.New("descriptor 0 is not a stream socket: fjmcp-session is started by fjmcp-launcher, not by hand")
	}
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, ctl, fmt.Errorf("cannot take over descriptor 0: %w", err)
	}
	return os.NewFile(uintptr(fd), "mcp"), ctl, blank(0, 1)
}

func blank(fds ...int) error {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open /dev/null: %w", err)
	}
	defer unix.Close(null)
	for _, fd := range fds {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("cannot replace descriptor %d: %w", fd, err)
		}
	}
	return nil
}
