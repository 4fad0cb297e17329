package admin

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// Peers returns l with connections whose remote address is who connected, as the
// kernel tells it (SO_PEERCRED, unix(7)): "alice (uid 1000)". l is a unix socket.
func Peers(l net.Listener) net.Listener { return peerListener{l} }

type peerListener struct{ net.Listener }

// Accept implements net.Listener.
func (l peerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("the admin socket is no unix socket")
	}
	return peerConn{u, peerOf(u)}, nil
}

type peerConn struct {
	*net.UnixConn
	peer peer
}

// RemoteAddr implements net.Conn.
func (c peerConn) RemoteAddr() net.Addr { return c.peer }

// peer says who connected.
type peer string

// Network implements net.Addr.
func (peer) Network() string { return "unix" }

// String implements net.Addr.
func (p peer) String() string { return string(p) }

func peerOf(c *net.UnixConn) peer {
	raw, err := c.SyscallConn()
	if err != nil {
		return "unknown"
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if errors.Join(err, credErr) != nil {
		return "unknown" // the socket's mode has let it in
	}
	uid := strconv.FormatUint(uint64(cred.Uid), 10)
	known, err := user.LookupId(uid)
	if err != nil {
		return peer("uid " + uid)
	}
	return peer(fmt.Sprintf("%s (uid %s)", known.Username, uid))
}
