package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

// healthTimeout is longer than the broker gives its own parts to answer.
const healthTimeout = 8 * time.Second

// healthcheck asks the broker that runs with this environment, as a container's
// health check does, where there is neither a shell nor curl. It returns 0 if all is
// well, else 1 and says on w what is not, or config.ExitStatus.
func healthcheck(w io.Writer) int {
	cfg, err := config.Load(os.Environ())
	if err != nil {
		fmt.Fprintln(w, "fjmcp-broker:", err)
		return config.ExitStatus
	}
	if err := askHealth(cfg.Listen); err != nil {
		fmt.Fprintln(w, "fjmcp-broker: not healthy:", err)
		return 1
	}
	return 0
}

// askHealth asks the broker that listens at listen.
func askHealth(listen string) error {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(listen)+"/healthz", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{}} // no proxy from the environment
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status + ": " + string(text))
	}
	return err
}

// reachable is an address to connect to for one to listen on, which may be that of
// every interface.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && addr.Is4() && addr.IsUnspecified():
		host = "127.0.0.1"
	case err == nil && addr.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
