package ratelimit

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Addresses tells where requests come from. The zero value believes
// X-Forwarded-For over unix sockets only.
type Addresses struct {
	Trusted []netip.Prefix // reverse proxies that connect over TCP
	Log     *slog.Logger   // told, once, of a proxy that is not trusted; may be nil

	warned sync.Once
}

// local is the source of all that comes over the unix socket from no proxy.
const local = "local"

// maxHops bounds how far back X-Forwarded-For is read.
const maxHops = 16

// Source names where r comes from: an IPv4 address, an IPv6 /64, which is what
// one customer has, or "local". X-Forwarded-For counts only if the peer is a
// trusted proxy or connects over a unix socket: then it is the last hop that is
// not a trusted proxy itself, since hops before that one are anyone's claim.
func (a *Addresses) Source(r *http.Request) string {
	peer, known := peerOf(r)
	if known && !a.trusts(peer) {
		a.warn(r, peer)
		return group(peer)
	}
	source, found := a.forwarded(r.Header.Values("X-Forwarded-For"))
	switch {
	case found:
		return group(source)
	case known:
		return group(peer)
	}
	return local
}

// peerOf is the address at the other end, unless that is a unix socket's.
func peerOf(r *http.Request) (netip.Addr, bool) {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && at.Network() == "unix" {
		return netip.Addr{}, false
	}
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	return at.Addr().Unmap().WithZone(""), err == nil
}

func (a *Addresses) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(a.Trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// forwarded walks the hops from the last one back to the first that is no
// trusted proxy. What is before a hop that cannot be read is not looked at.
func (a *Addresses) forwarded(headers []string) (source netip.Addr, found bool) {
	rest, more := strings.Join(headers, ","), true
	for range maxHops {
		if !more {
			break
		}
		var hop string
		at := strings.LastIndexByte(rest, ',')
		hop, rest, more = rest[at+1:], rest[:max(at, 0)], at >= 0
		addr, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			break
		}
		source, found = addr, true
		if !a.trusts(addr) {
			break
		}
	}
	return source, found
}

// parseHop reads an address; some proxies write its port, too.
func parseHop(hop string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(hop)
	if err != nil {
		var withPort netip.AddrPort
		if withPort, err = netip.ParseAddrPort(hop); err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

func group(addr netip.Addr) string {
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().String()
	}
	return addr.String()
}

// warn says once that a proxy on this machine is not believed: all its users
// then share the limits of one address.
func (a *Addresses) warn(r *http.Request, peer netip.Addr) {
	if a.Log == nil || !peer.IsLoopback() || r.Header.Get("X-Forwarded-For") == "" {
		return
	}
	a.warned.Do(func() {
		a.Log.Warn("a reverse proxy at " + peer.String() + " is not believed, so all its users share the limits of one address; let it connect to the unix socket, or name it in FJMCP_BROKER_TRUSTED_PROXIES")
	})
}
