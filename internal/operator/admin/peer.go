package admin

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/peercred"
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
	return peerConn{u, nameOf(u)}, nil
}

type peerConn struct {
	*net.UnixConn
	name string
}

// RemoteAddr implements net.Conn.
func (c peerConn) RemoteAddr() net.Addr { return &net.UnixAddr{Name: c.name, Net: "unix"} }

func nameOf(c *net.UnixConn) string {
	uid, err := peercred.UID(c)
	if err != nil {
		return "unknown" // the socket's mode has let it in
	}
	number := strconv.FormatUint(uint64(uid), 10)
	known, err := user.LookupId(number)
	if err != nil {
		return "uid " + number
	}
	return fmt.Sprintf("%s (uid %s)", known.Username, number)
}
