package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
	"github.com/fjmcp/fjmcp-broker/internal/test/npm"
)

const supergateway = "supergateway"

// startSupergateway installs supergateway and starts it with a child for each
// session. Its log is off: it would copy every message to it.
func startSupergateway(ctx context.Context, lock string, command ...string) (t target, stop func(), err error) {
	defer caught(&err)
	stop = func() {}
	dir := must(npm.Install(ctx, lock))
	address := must(localbroker.FreeAddress("0"))
	_, port, _ := strings.Cut(address, ":")
	cmd := exec.Command(filepath.Join(dir, "node_modules", ".bin", "supergateway"),
		"--stdio", strings.Join(command, " "), "--outputTransport", "streamableHttp", "--stateful",
		"--port", port, "--healthEndpoint", "/healthz", "--logLevel", "none")
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	ended := must(localbroker.Spawn(cmd))
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	need(localbroker.Await(ctx, ended, http.DefaultClient, "http://"+address+"/healthz"))
	return must(newEndpoint("http://" + address + "/mcp")).target(supergateway), stop, nil
}
