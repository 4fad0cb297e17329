package ratelimit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
)

func from(peer string, forwarded ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if peer == "unix" {
		r.RemoteAddr = "@"
		return with(r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.UnixAddr{Net: "unix", Name: "/run/x.sock"})), forwarded)
	}
	r.RemoteAddr = peer
	return with(r, forwarded)
}

func with(r *http.Request, forwarded []string) *http.Request {
	for _, f := range forwarded {
		r.Header.Add("X-Forwarded-For", f)
	}
	return r
}

// Nobody can choose the address that counts but a proxy that is trusted.
func TestSource(t *testing.T) {
	a := &Addresses{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}}
	for _, tc := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"203.0.113.9:1", nil, "203.0.113.9"},
		{"203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9"},
		{"127.0.0.1:1", []string{"198.51.100.1"}, "127.0.0.1"},
		{"[::ffff:203.0.113.9]:1", nil, "203.0.113.9"},
		{"[2001:db8::1]:1", nil, "2001:db8::/64"},
		{"[fe80::1%eth0]:1", nil, "fe80::/64"},
		{"10.1.2.3:1", nil, "10.1.2.3"},
		{"10.1.2.3:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"[2001:db8:1::2]:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.1.2.3:1", []string{"6.6.6.6, 198.51.100.1, 10.9.9.9"}, "198.51.100.1"},
		{"10.1.2.3:1", []string{"6.6.6.6", "198.51.100.1", "10.9.9.9"}, "198.51.100.1"},
		{"10.1.2.3:1", []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.1"},
		{"10.1.2.3:1", []string{"6.6.6.6, nonsense"}, "10.1.2.3"},
		{"10.1.2.3:1", []string{"6.6.6.6, nonsense, 10.0.0.2"}, "10.0.0.2"},
		{"10.1.2.3:1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"10.1.2.3:1", []string{"[2001:db8::5]:4711"}, "2001:db8::/64"},
		{"10.1.2.3:1", []string{strings.Repeat("10.0.0.1,", 1000) + "10.0.0.2"}, "10.0.0.1"},
		{"unix", nil, "local"},
		{"unix", []string{"nonsense"}, "local"},
		{"unix", []string{"6.6.6.6, 2001:db8::77"}, "2001:db8::/64"},
	} {
		wide := map[string]string{"2001:db8::/64": "2001:db8::/48", "fe80::/64": "fe80::/48"}[tc.want]
		if got, network := a.Source(from(tc.peer, tc.forwarded...)); got != tc.want || network != wide {
			t.Errorf("%s %q: %s in %q, want %s in %q", tc.peer, tc.forwarded, got, network, tc.want, wide)
		}
	}
}

func TestAProxyThatIsNotTrustedIsNamedOnce(t *testing.T) {
	var log bytes.Buffer
	a := &Addresses{Log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 3 {
		a.Source(from("127.0.0.1:1", "198.51.100.1"))
		a.Source(from("203.0.113.9:1", "198.51.100.1"))
	}
	if n := strings.Count(log.String(), "FJMCP_BROKER_TRUSTED_PROXIES"); n != 1 || strings.Contains(log.String(), "203.0.113.9") {
		t.Errorf("named %d times:\n%s", n, log.String())
	}
}

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newTest(t *testing.T, rule Rule) (*Limiter, *clock, *bytes.Buffer) {
	c, trail := &clock{time.Unix(1e9, 0)}, &bytes.Buffer{}
	return New(Config{Rule: rule, Addresses: &Addresses{}, Audit: audit.New(trail), Now: c.now}), c, trail
}

func TestOneClientAndOneAddressAreLimited(t *testing.T) {
	l, c, trail := newTest(t, Rule{Name: "login", Client: Rate{2, 0.5}, Address: Rate{4, 0.25}})
	take := func(peer, client string, want time.Duration) {
		t.Helper()
		if got := l.Take(from(peer), client); got != want {
			t.Errorf("%s %s: %s, want %s", peer, client, got, want)
		}
	}
	take("192.0.2.1:1", "a", 0)
	take("192.0.2.1:2", "a", 0)
	take("192.0.2.1:3", "a", 2*time.Second)
	take("192.0.2.1:4", "b", 0)
	take("192.0.2.1:4", "b", 0)
	take("192.0.2.1:5", "c", 4*time.Second) // the address is over its limit
	take("192.0.2.2:1", "a", 0)             // another is not
	c.at = c.at.Add(4 * time.Second)
	take("192.0.2.1:6", "a", 0)
	if got := trail.String(); strings.Count(got, "rate_limited") != 1 || !strings.Contains(got, "FJMCP_OUTCOME=login") || !strings.Contains(got, "192.0.2.1") {
		t.Errorf("the trail:\n%s", got)
	}
}

func TestASourceIsAuditedOnceAWindow(t *testing.T) {
	l, c, trail := newTest(t, Rule{Name: "register", Address: Rate{1, 0.001}})
	for range 3 {
		for range 500 {
			l.Take(from("192.0.2.1:1"), "")
		}
		c.at = c.at.Add(Window)
	}
	if n := strings.Count(trail.String(), "rate_limited"); n != 3 {
		t.Errorf("%d entries in three windows", n)
	}
}

// Who has a whole IPv6 network has 65,536 addresses, but not as many limits. Another
// network is not touched, one of its addresses does not use up the rest, and the trail
// has one entry.
func TestANetworkIsLimited(t *testing.T) {
	l, c, trail := newTest(t, Rule{Name: "register", Address: Rate{2, 0.5}})
	take := func(network, address int) bool {
		return l.Take(from(fmt.Sprintf("[2001:db8:%x:%x::1]:1", network, address)), "") == 0
	}
	for range 100 {
		take(1, 0)
	}
	passed := 0
	for address := range 1000 {
		if take(1, 1+address) {
			passed++
		}
	}
	if passed != 2*networkTimes-2 {
		t.Errorf("%d of 1000 neighbours passed", passed)
	}
	if len(l.address.keys) != passed+1 {
		t.Errorf("%d addresses are remembered", len(l.address.keys))
	}
	if !take(2, 0) {
		t.Error("another network is limited")
	}
	if got := trail.String(); strings.Count(got, "rate_limited") != 2 || strings.Count(got, "from 2001:db8:1::/48: more than 16 at once, 4 a second") != 1 {
		t.Errorf("the trail:\n%s", got)
	}
	c.at = c.at.Add(time.Second)
	if !take(1, 5000) {
		t.Error("still limited a second later")
	}
}

// However many sources there are, memory and journal stay bounded.
func TestManySources(t *testing.T) {
	l, _, trail := newTest(t, Rule{Name: "bearer", Client: Rate{1, 1}, Address: Rate{1, 1}})
	for i := range 3 * maxCounted {
		for range 2 {
			l.Take(from(fmt.Sprintf("[2001:%x:%x:1::1]:1", i>>8, i&0xff)), fmt.Sprint(i))
		}
	}
	if len(l.network.keys) > maxCounted || len(l.address.keys) > maxCounted || len(l.client.keys) > maxCounted || len(l.told.at) > maxCounted {
		t.Errorf("%d networks, %d addresses, %d clients, %d told", len(l.network.keys), len(l.address.keys), len(l.client.keys), len(l.told.at))
	}
	if n := strings.Count(trail.String(), "rate_limited"); n > maxCounted {
		t.Errorf("%d entries", n)
	}
}

func TestWithoutALimiterNothingIsLimited(t *testing.T) {
	var l *Limiter
	if l.Take(from("192.0.2.1:1"), "a") != 0 {
		t.Error("limited")
	}
}
