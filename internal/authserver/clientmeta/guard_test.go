package clientmeta

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestPublicOnly(t *testing.T) {
	allow := publicOnly()
	for _, to := range []string{"93.184.216.34:443", "104.18.32.47:443", "[2606:4700::6812:202f]:443", "[::ffff:93.184.216.34]:443"} {
		if err := allow(netip.MustParseAddrPort(to)); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	for _, to := range []string{
		"93.184.216.34:80", "93.184.216.34:22", "93.184.216.34:8443", // ports
		"127.0.0.1:443", "127.8.8.8:443", "[::1]:443", "[::ffff:127.0.0.1]:443", // loopback
		"0.0.0.0:443", "0.1.2.3:443", "[::]:443", "[::ffff:0.0.0.0]:443", // unspecified, this network
		"10.0.0.1:443", "172.16.0.1:443", "172.31.255.255:443", "192.168.1.1:443", "[fc00::1]:443", "[fd12::1]:443", "[::ffff:10.0.0.1]:443", // private
		"169.254.169.254:443", "[fe80::1]:443", "[fe80::1%eth0]:443", "[::ffff:169.254.169.254]:443", "[fec0::1]:443", // link-local, site-local
		"100.64.0.1:443", "100.127.255.255:443", // shared, RFC 6598
		"224.0.0.1:443", "239.255.255.250:443", "[ff02::1]:443", "[ff0e::1]:443", // multicast
		"255.255.255.255:443", "240.0.0.1:443", // broadcast, reserved
		"192.0.0.8:443", "192.0.2.1:443", "198.18.0.1:443", "198.51.100.1:443", "203.0.113.1:443", "[2001:db8::1]:443", "[3fff::1]:443", // protocol, documentation, benchmarks
		"[64:ff9b::7f00:1]:443", "[64:ff9b::5db8:d822]:443", "[64:ff9b:1::1]:443", // NAT64, RFC 6052 and 8215
		"[2002:7f00:1::]:443", "[2001::1]:443", "[::127.0.0.1]:443", "[100::1]:443", // 6to4, Teredo, IPv4-compatible, discard
	} {
		if allow(netip.MustParseAddrPort(to)) == nil {
			t.Errorf("%s is let through", to)
		}
	}
}

// The guard sits in the dialler: a real listener sees no connection.
func TestGuardDialsNothingElse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, host := range map[string]string{"a name": "evil.example", "an address": "127.0.0.1"} {
		g := &guard{resolve: func(_ context.Context, asked string, port uint16) ([]netip.AddrPort, error) {
			if asked != host || port != 443 {
				t.Errorf("%s: resolving %s:%d", name, asked, port)
			}
			return []netip.AddrPort{netip.MustParseAddrPort("10.255.255.1:443"), netip.MustParseAddrPort(l.Addr().String())}, nil
		}, allow: publicOnly()}
		if c, err := g.dial(t.Context(), "tcp", net.JoinHostPort(host, "443")); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	// The same dialler connects when the address is allowed, so it was the guard.
	g := &guard{resolve: func(context.Context, string, uint16) ([]netip.AddrPort, error) {
		return []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}, nil
	}, allow: func(netip.AddrPort) error { return nil }}
	c, err := g.dial(t.Context(), "tcp", "evil.example:443")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestGuardWithTheSystemsResolver(t *testing.T) {
	g := &guard{resolve: resolve, allow: publicOnly()}
	for _, address := range []string{"localhost:443", "127.0.0.1:443", "[::1]:443", "[::ffff:127.0.0.1]:443", "0.0.0.0:443", "[64:ff9b::7f00:1]:443"} {
		if c, err := g.dial(t.Context(), "tcp", address); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v, %v", address, c, err)
		}
	}
}
