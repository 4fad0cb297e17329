package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/npm"
)

const supergateway = "supergateway"

// startSupergateway installs supergateway and starts it with a child for each
// session. Its log is off: it would copy every message to it. Where that fails, no
// session can be begun.
func startSupergateway(ctx context.Context, lock string, command ...string) (t target, stop func()) {
	stop = func() {}
	fail := func(err error) (target, func()) {
		return target{supergateway, func(context.Context) (session, time.Duration, error) { return nil, 0, err }}, stop
	}
	dir, err := npm.Install(ctx, lock)
	if err != nil {
		return fail(err)
	}
	address, err := localbroker.FreeAddress("0")
	if err != nil {
		return fail(err)
	}
	_, port, _ := strings.Cut(address, ":")
	cmd := exec.Command(filepath.Join(dir, "node_modules", ".bin", "supergateway"),
		"--stdio", strings.Join(command, " "), "--outputTransport", "streamableHttp", "--stateful",
		"--port", port, "--healthEndpoint", "/healthz", "--logLevel", "none")
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	ended, err := localbroker.Spawn(cmd)
	if err != nil {
		return fail(err)
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	if err := localbroker.Await(ctx, ended, http.DefaultClient, "http://"+address+"/healthz"); err != nil {
		return fail(fmt.Errorf("supergateway: %w", err))
	}
	e, err := newEndpoint("http://" + address + "/mcp")
	if err != nil {
		return fail(err)
	}
	return e.target(supergateway), stop
}
