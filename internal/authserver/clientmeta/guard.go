package clientmeta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
)

// publicOnly is what Config.Allow is by default. The IANA special-purpose
// registries stand behind it: no loopback, private, link-local, shared
// (RFC 6598), multicast, documentation, 6to4 or NAT64 address, and IPv4-mapped
// ones are judged as the IPv4 address they are.
func publicOnly() func(netip.AddrPort) error {
	g := ssrf.New(ssrf.WithPorts(443))
	return func(to netip.AddrPort) error {
		return g.SafeAddrPort(netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
	}
}

// errRefused says that no address of a host may be connected to.
var errRefused = errors.New("the address is not allowed")

// guard dials nothing but addresses that it has checked.
type guard struct {
	resolve func(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error)
	allow   func(netip.AddrPort) error
}

// resolve asks the system's resolver.
func resolve(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	list := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		list[i] = netip.AddrPortFrom(a.Unmap(), port)
	}
	return list, err
}

// dial resolves the host once and connects to the addresses themselves, one
// after another, so that no second look-up can give others. control looks again
// at the address that the kernel is given.
func (g *guard) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("cannot use port %q", service)
	}
	addrs, err := g.resolve(ctx, host, uint16(port))
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: connectTime, KeepAlive: -1, Control: g.control}
	err = fmt.Errorf("cannot find an address of %s", host)
	for _, a := range addrs {
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, "tcp", a.String()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// allowedURL is all that can be looked at where a proxy connects: an address and a port
// that stand in the URL themselves, and names that no one but this host or network knows.
func (g *guard) allowedURL(u *url.URL) error {
	host, port := strings.TrimRight(u.Hostname(), "."), cmp.Or(u.Port(), "443")
	label := host[strings.LastIndexByte(host, '.')+1:]
	to, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	switch {
	case err == nil:
		err = g.allow(to)
	case port != "443":
		err = fmt.Errorf("port %s", port)
	case host == "":
		err = errors.New("no host")
	case localhost.Loopback(host), label == host, label[0] >= '0' && label[0] <= '9': // 0x7f.1 and 127.1 are addresses to many
		err = fmt.Errorf("host %s", host)
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil
}

// connectTime bounds one attempt to connect.
const connectTime = 2 * time.Second

func (g *guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", errRefused, address)
	}
	if err := g.allow(to); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil
}
