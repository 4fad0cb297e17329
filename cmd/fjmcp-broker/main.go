// Command fjmcp-broker is the OAuth authorization server and MCP gateway in
// front of a Forgejo.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/cli"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

func main() { os.Exit(run()) }

func run() int {
	return cli.Run("fjmcp-broker", "[--version | --healthcheck]\n\nIt takes its configuration from the environment, see fjmcp-broker.env(5).",
		os.Args[1:], map[string]func() int{"": broker, "--healthcheck": healthcheck, "--restore": applyRestore})
}

func broker() int {
	shareProcessors()
	stderr := logging.OpenStderr(true)
	log := logging.New(stderr)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	passed, err := systemd.Inherited()
	if err != nil {
		log.Error(err.Error())
		return 1
	}
	return serve(ctx, passed, audit.New(stderr), log)
}

// shareProcessors has the broker compute on half of the processors that it may use,
// at least one: a call is carried out by broker and backend in turn, and threads that
// look for work on the others only have to be woken for it (docs/adr/0048). Whoever
// sets GOMAXPROCS in the environment knows better.
func shareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2))
	}
}

func serve(ctx context.Context, passed systemd.Passed, events *audit.Logger, log *slog.Logger) int {
	cfg, err := config.Load(os.Environ())
	var b *server
	if err == nil {
		b, err = assemble(ctx, cfg, passed, events, log)
	}
	var faults *config.Error
	switch {
	case errors.As(err, &faults):
		for _, fault := range faults.Faults {
			log.Error("configuration: " + fault)
		}
		log.Error(fmt.Sprintf("cannot start: %d fault(s) in the configuration, listed above", len(faults.Faults)))
		refuse(ctx, httpserver.Refuse, passed.Sockets, "fjmcp-broker cannot start: its configuration is at fault.", strings.Join(faults.Faults, "; "), log)
		return config.ExitStatus
	case err != nil && ctx.Err() != nil:
		return 0 // told to end while it started, which is no fault
	case err != nil:
		return hold(ctx, cfg, passed, err, log)
	}
	if err = b.listen(cfg); err == nil {
		err = b.serve(ctx)
	}
	if err != nil {
		log.Error("cannot serve: " + err.Error())
		return 1
	}
	return 0
}
