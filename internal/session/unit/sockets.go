package unit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// nearEnds is the broker's ends.
type nearEnds struct {
	Stdin   *os.File
	MCP     *net.UnixConn
	Control *control.Conn
}

// Close closes those there are.
func (n nearEnds) Close() {
	n.Stdin.Close() // does nothing to nil
	if n.MCP != nil {
		n.MCP.Close()
	}
	if n.Control != nil {
		n.Control.Close()
	}
}

// Files are duplicates of them, which the caller must close.
func (n nearEnds) Files() (files []*os.File, err error) {
	stdin := func() (*os.File, error) { return duplicate(n.Stdin) }
	for _, dup := range []func() (*os.File, error){stdin, n.MCP.File, n.Control.File} {
		f, err := dup()
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// duplicate is for pipes. The copy shares its non-blocking mode with f.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	ctlErr := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(ctlErr, err); err != nil {
		return nil, fmt.Errorf("cannot duplicate a descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// farEnds is the session's ends, until they are handed over.
type farEnds struct{ Stdin, MCP, Control *os.File }

// Close closes them.
func (f farEnds) Close() { closeAll([]*os.File{f.Stdin, f.MCP, f.Control}) }

// socketPair makes them.
func socketPair() (near nearEnds, far farEnds, err error) {
	if far.Stdin, near.Stdin, err = os.Pipe(); err != nil {
		err = fmt.Errorf("cannot make a pipe: %w", err)
	}
	if err == nil {
		near.MCP, far.MCP, err = streamPair()
	}
	if err == nil {
		near.Control, far.Control, err = control.Pair()
	}
	if err != nil {
		near.Close()
		far.Close()
	}
	return near, far, err
}

// streamPair makes the MCP socket: our end as a connection, the child's as a
// file to hand over.
func streamPair() (*net.UnixConn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "mcp"), os.NewFile(uintptr(fds[1]), "mcp-remote")
	defer near.Close()
	conn, err := connOf(near)
	if err != nil {
		far.Close()
	}
	return conn, far, err
}

// connOf is a stream socket as a connection. f stays the caller's.
func connOf(f *os.File) (*net.UnixConn, error) {
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("cannot use the socket: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

// nearFromFiles tells them apart by their type, of which it wants one each. files, in any
// order, stay the caller's.
func nearFromFiles(files []*os.File) (near nearEnds, err error) {
	for _, f := range files {
		kind, kindErr := socketType(f)
		switch {
		case err != nil:
		case errors.Is(kindErr, unix.ENOTSOCK) && near.Stdin == nil:
			near.Stdin, err = duplicate(f)
		case kindErr == nil && kind == unix.SOCK_STREAM && near.MCP == nil:
			near.MCP, err = connOf(f)
		case kindErr == nil && kind == unix.SOCK_SEQPACKET && near.Control == nil:
			near.Control, err = control.FromFile(f)
		}
	}
	if err == nil && (len(files) != 3 || near.Stdin == nil || near.MCP == nil || near.Control == nil) {
		err = fmt.Errorf("%d descriptors were kept, want a pipe and two sockets", len(files))
	}
	if err != nil {
		near.Close()
		return nearEnds{}, err
	}
	return near, nil
}

func socketType(f *os.File) (kind int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	ctlErr := raw.Control(func(fd uintptr) { kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE) })
	return kind, errors.Join(ctlErr, err)
}
