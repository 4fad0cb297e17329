package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/cli"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

// healthTimeout is longer than the broker gives its own parts to answer.
const healthTimeout = 8 * time.Second

// healthcheck asks the broker that runs with this environment, as a container's
// health check does, where there is neither a shell nor curl. It returns 0 if all is
// well, else 1 and says what is not, or config.ExitStatus.
func healthcheck() int {
	cfg, err := config.Load(os.Environ())
	if err != nil {
		cli.Failed("fjmcp-broker", err)
		return config.ExitStatus
	}
	if err = askHealth(cfg.Listen); err != nil {
		err = fmt.Errorf("not healthy: %w", err)
	}
	return cli.Failed("fjmcp-broker", err)
}

// askHealth asks the broker that listens at listen. One that listens on all addresses
// is reached at the unspecified one, which is this machine for whoever connects to it.
func askHealth(listen string) error {
	client := http.Client{Transport: &http.Transport{}, Timeout: healthTimeout} // no proxy from the environment
	resp, err := client.Get("http://" + listen + "/healthz")
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
