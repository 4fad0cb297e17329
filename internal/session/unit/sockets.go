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

// Close closes them.
func (n nearEnds) Close() {
	n.Stdin.Close()
	n.MCP.Close()
	n.Control.Close()
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
		return nearEnds{}, farEnds{}, fmt.Errorf("cannot make a pipe: %w", err)
	}
	if near.MCP, far.MCP, err = streamPair(); err != nil {
		closeAll([]*os.File{near.Stdin, far.Stdin})
		return nearEnds{}, farEnds{}, err
	}
	if near.Control, far.Control, err = control.Pair(); err != nil {
		near.MCP.Close()
		closeAll([]*os.File{near.Stdin, far.Stdin, far.MCP})
		return nearEnds{}, farEnds{}, err
	}
	return near, far, nil
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
	conn, err := net.FileConn(near)
	if err != nil {
		far.Close()
		return nil, nil, fmt.Errorf("cannot use the socket pair: %w", err)
	}
	return conn.(*net.UnixConn), far, nil
}

// nearFromFiles tells them apart by their type. files, in any order, stay the caller's.
func nearFromFiles(files []*os.File) (near nearEnds, err error) {
	pipe, stream, packets, err := byType(files)
	if err != nil {
		return nearEnds{}, err
	}
	if near.Stdin, err = duplicate(pipe); err != nil {
		return nearEnds{}, err
	}
	if near.Control, err = control.FromFile(packets); err != nil {
		near.Stdin.Close()
		return nearEnds{}, err
	}
	conn, err := net.FileConn(stream)
	if err != nil {
		near.Stdin.Close()
		near.Control.Close()
		return nearEnds{}, err
	}
	near.MCP = conn.(*net.UnixConn)
	return near, nil
}

// byType wants one of each.
func byType(files []*os.File) (pipe, stream, packets *os.File, err error) {
	for _, f := range files {
		switch kind, err := socketType(f); {
		case errors.Is(err, unix.ENOTSOCK) && pipe == nil:
			pipe = f
		case err == nil && kind == unix.SOCK_STREAM && stream == nil:
			stream = f
		case err == nil && kind == unix.SOCK_SEQPACKET && packets == nil:
			packets = f
		}
	}
	if len(files) != 3 || pipe == nil || stream == nil || packets == nil {
		return nil, nil, nil, fmt.Errorf("%d descriptors were kept, want a pipe and two sockets", len(files))
	}
	return pipe, stream, packets, nil
}

func socketType(f *os.File) (kind int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	ctlErr := raw.Control(func(fd uintptr) { kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE) })
	return kind, errors.Join(ctlErr, err)
}
