// Package sockets makes the two sockets between the broker and one fjmcp-session: a
// stream that is forgejo-mcp's standard input and output, and the packets of package
// control. It tells them apart again when the broker's next process gets them. Package
// unit imports it.
package sockets

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/control"
)

// Near is the broker's ends.
type Near struct {
	MCP     *net.UnixConn
	Control *control.Conn
}

// Close closes both.
func (n Near) Close() {
	n.MCP.Close()
	n.Control.Close()
}

// Files are duplicates of both, which the caller must close.
func (n Near) Files() ([]*os.File, error) {
	stream, err := n.MCP.File()
	if err != nil {
		return nil, err
	}
	packets, err := n.Control.File()
	if err != nil {
		stream.Close()
		return nil, err
	}
	return []*os.File{stream, packets}, nil
}

// Far is the session's ends, until they are handed over.
type Far struct{ MCP, Control *os.File }

// Close closes both.
func (f Far) Close() {
	f.MCP.Close()
	f.Control.Close()
}

// Pair makes both sockets.
func Pair() (Near, Far, error) {
	ours, theirs, err := streamPair()
	if err != nil {
		return Near{}, Far{}, err
	}
	local, remote, err := control.Pair()
	if err != nil {
		ours.Close()
		theirs.Close()
		return Near{}, Far{}, err
	}
	return Near{MCP: ours, Control: local}, Far{MCP: theirs, Control: remote}, nil
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

// FromFiles tells the two sockets apart by their type. files, in any order, stay the
// caller's.
func FromFiles(files []*os.File) (Near, error) {
	if len(files) != 2 {
		return Near{}, fmt.Errorf("%d descriptors were kept, want 2", len(files))
	}
	first, second := files[0], files[1]
	if kind, err := socketType(first); err != nil || kind != unix.SOCK_STREAM {
		first, second = second, first
	}
	packets, err := control.FromFile(second)
	if err != nil {
		return Near{}, err
	}
	conn, err := net.FileConn(first)
	if err != nil {
		packets.Close()
		return Near{}, err
	}
	stream, ok := conn.(*net.UnixConn)
	if !ok {
		packets.Close()
		conn.Close()
		return Near{}, errors.New("a descriptor is no unix socket")
	}
	return Near{MCP: stream, Control: packets}, nil
}

func socketType(f *os.File) (kind int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	ctlErr := raw.Control(func(fd uintptr) { kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE) })
	return kind, errors.Join(ctlErr, err)
}
