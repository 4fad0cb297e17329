package nspawn

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// DialContext connects within the container's network namespace, from this
// process. Network is tcp or unix. A tcp host must be an IP address, localhost
// or a name under .localhost (RFC 6761 §6.3: 127.0.0.1); a unix address is a
// path inside the container. It fits http.Transport's field of that name.
func (c *Container) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if strings.HasPrefix(network, "unix") {
		// Path names are not bound to a network namespace.
		return d.DialContext(ctx, network, fmt.Sprintf("/proc/%d/root%s", c.leader, addr))
	}
	addr, err := literal(addr)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = c.inNetns(func() (err error) {
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Listen listens within the container's network namespace, from this process;
// the rules for addresses are those of DialContext, tcp only.
func (c *Container) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	addr, err := literal(addr)
	if err != nil {
		return nil, err
	}
	var l net.Listener
	err = c.inNetns(func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, network, addr)
		return err
	})
	return l, err
}

// literal replaces local names by an address. A name that needs a resolver
// would be looked up on other threads, outside the namespace.
func literal(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		host = "127.0.0.1"
	}
	if net.ParseIP(host) == nil {
		return "", fmt.Errorf("cannot reach %s: the container has only its loopback", host)
	}
	return net.JoinHostPort(host, port), nil
}

// inNetns calls f on a thread that has entered the container's network namespace, and
// that ends thereafter: it is never unlocked.
func (c *Container) inNetns(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.leader))
		if err != nil {
			result <- fmt.Errorf("the container is gone: %w", err)
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("cannot enter the container's network: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}
