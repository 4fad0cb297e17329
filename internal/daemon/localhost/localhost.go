// Package localhost says by its name whether a host is this machine, and makes names
// under ".localhost" reach it, as RFC 6761 §6.3 wants. The C library's resolver may
// ask DNS for them or answer that they do not exist, and Go's own resolver does the
// same; a forge at http://forgejo.localhost:3000 would then be out of reach.
package localhost

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// Is reports whether host lies under the top-level domain "localhost" (RFC 6761
// §6.3), in any case and with or without a trailing dot. The bare name
// "localhost" does not count: /etc/hosts and every resolver know it.
func Is(host string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".localhost")
}

// Literal reports whether host, without port, is a loopback host by its name or
// address. Go's HTTP clients, and with them forgejo-mcp, reach such a one past every
// proxy (golang.org/x/net/http/httpproxy). Names under .localhost are not among them.
func Literal(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// Loopback reports whether host, without port, is this machine: Literal, or a name
// under .localhost.
func Loopback(host string) bool { return Literal(host) || Is(host) }

// Dialer dials like net.Dialer, except that names under ".localhost" go to
// 127.0.0.1 and, where nothing listens there, to ::1. The zero value has no
// timeout of its own.
type Dialer struct{ net.Dialer }

// DialContext connects to address ("host:port"). It fits
// http.Transport.DialContext.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !Is(host) {
		return d.Dialer.DialContext(ctx, network, address)
	}
	conn, err := d.Dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		return conn, nil
	}
	if conn6, err6 := d.Dialer.DialContext(ctx, network, net.JoinHostPort("::1", port)); err6 == nil {
		return conn6, nil
	}
	return nil, err
}
