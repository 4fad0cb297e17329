package forgeproxy

import (
	"context"
	"net"
)

// tunnelListener is a net.Listener whose connections are handed to it.
type tunnelListener struct {
	conns  chan net.Conn
	ctx    context.Context
	cancel context.CancelFunc
}

func newTunnelListener() *tunnelListener {
	ctx, cancel := context.WithCancel(context.Background())
	return &tunnelListener{conns: make(chan net.Conn), ctx: ctx, cancel: cancel}
}

func (l *tunnelListener) add(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.ctx.Done():
		c.Close()
	}
}

func (l *tunnelListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *tunnelListener) Close() error   { l.cancel(); return nil }
func (l *tunnelListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
