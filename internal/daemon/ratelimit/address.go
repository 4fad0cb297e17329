package ratelimit

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
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

// Source names where r comes from: an IPv4 address, an IPv6 /64, which is the least
// that one customer has, or "local"; and the IPv6 /48 around it, which is the most,
// else "". X-Forwarded-For counts only if the peer is a trusted proxy or connects over
// a unix socket: then it is the last hop that is not a trusted proxy itself, since hops
// before that one are anyone's claim.
func (a *Addresses) Source(r *http.Request) (source, network string) {
	addr, known := peerOf(r)
	if known && !a.trusts(addr) {
		a.warn(r, addr)
	} else if hop, found := a.forwarded(r.Header.Values("X-Forwarded-For")); found {
		addr = hop
	}
	switch {
	case !addr.IsValid():
		return local, ""
	case addr.Is4():
		return addr.String(), ""
	}
	return netip.PrefixFrom(addr, 64).Masked().String(), netip.PrefixFrom(addr, 48).Masked().String()
}

// Believed reports whether what X-Forwarded-For of r says counts.
func (a *Addresses) Believed(r *http.Request) bool {
	addr, known := peerOf(r)
	return !known || a.trusts(addr)
}

// Audited has the events of each request that next serves bear its source.
func (a *Addresses) Audited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		source, _ := a.Source(r)
		next.ServeHTTP(w, r.WithContext(audit.From(r.Context(), source)))
	})
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
