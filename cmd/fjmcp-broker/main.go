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
	"slices"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/cli"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

func main() { os.Exit(run()) }

func run() int {
	return cli.Run("fjmcp-broker", "[--version | --healthcheck]\n\nIt takes its configuration from the environment, see fjmcp-broker.env(5).",
		os.Args[1:], map[string]func() int{"": broker, "--healthcheck": healthcheck})
}

func broker() int {
	shareProcessors()
	log := logging.New(os.Stderr)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	passed, err := systemd.Inherited()
	if err != nil {
		log.Error(err.Error())
		return 1
	}
	return serve(ctx, passed, log)
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

func serve(ctx context.Context, passed systemd.Passed, log *slog.Logger) int {
	b, err := start(ctx, passed, log)
	var faults *config.Error
	if errors.As(err, &faults) {
		for _, fault := range faults.Faults {
			log.Error("configuration: " + fault)
		}
		log.Error(fmt.Sprintf("cannot start: %d fault(s) in the configuration, listed above", len(faults.Faults)))
		refuse(ctx, passed, "fjmcp-broker cannot start: its configuration is at fault.", log)
		return config.ExitStatus
	}
	if err != nil {
		log.Error("cannot start: " + err.Error())
		refuse(ctx, passed, "fjmcp-broker cannot start.", log)
		return 1
	}
	if err := b.serve(ctx); err != nil {
		log.Error("cannot serve: " + err.Error())
		return 1
	}
	return 0
}

func start(ctx context.Context, passed systemd.Passed, log *slog.Logger) (*server, error) {
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return nil, err
	}
	return assemble(ctx, cfg, passed, log)
}

// refuse tells clients and fjmcpctl.
func refuse(ctx context.Context, passed systemd.Passed, message string, log *slog.Logger) {
	message += " The operator finds what is wrong with: journalctl -u fjmcp-broker.service"
	httpserver.Refuse(ctx, slices.Concat(passed.Sockets["http"], passed.Sockets["admin"]), message, log)
}
