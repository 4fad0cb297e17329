// Command fjmcp-session is the main process of a session unit: it runs an MCP
// backend that holds no token and puts the user's token on its requests to the
// forge. fjmcp-launcher starts it; see package sandbox for its contract.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/cli"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/confine"
)

// init keeps the main thread for main: were the backend's goroutine to run there,
// its confinement would be what /proc shows of the whole process.
func init() { runtime.LockOSThread() }

func main() {
	hardened := confine.Harden() // before anything secret is near
	os.Exit(cli.Run("fjmcp-session", "[--version]\n\nfjmcp-launcher starts it; it takes its configuration from the environment.",
		os.Args[1:], map[string]func() int{"": func() int { return serve(hardened) }}))
}

func serve(hardened error) int {
	stderr := logging.OpenStderr(false)
	log := logging.Untimed(stderr)
	if hardened != nil {
		log.Error(hardened.Error())
		return 1
	}
	config, configErr := sandbox.ConfigFromEnv(os.Getenv)
	mcp, ctl, err := sandbox.Descriptors()
	if err != nil {
		log.Error(err.Error())
		return sandbox.ExitConfig
	}
	if configErr != nil {
		fmt.Fprintf(stderr, "fjmcp-session: faulty configuration:\n%v\n", configErr)
		ctl.Send(context.Background(), control.Message{
			Type: control.TypeFailed, Reason: control.ReasonInternal, Detail: configErr.Error(),
		})
		return sandbox.ExitConfig
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return sandbox.New(config, mcp, ctl, sandbox.NewOutput(stderr)).Run(ctx)
}
