// Package peercred asks the kernel who is at the other end of a unix socket.
package peercred

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// UID is the user id of the process that connected to, or made, the far end of c, as
// it was then (SO_PEERCRED, unix(7)).
func UID(c syscall.Conn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("cannot ask who is at the other end: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, fmt.Errorf("cannot ask who is at the other end: %w", err)
	}
	return cred.Uid, nil
}
