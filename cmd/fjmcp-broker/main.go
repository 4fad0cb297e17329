// Command fjmcp-broker is the OAuth authorization server and MCP gateway in
// front of a Forgejo.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
)

func main() { os.Exit(run()) }

func run() int {
	showVersion := flag.Bool("version", false, "print version and commit")
	askHealth := flag.Bool("healthcheck", false, "ask a running broker for its health")
	flag.Usage = usage
	flag.Parse()
	if *showVersion {
		fmt.Println("fjmcp-broker", version.String())
		return 0
	}
	if flag.NArg() > 0 {
		usage()
		return 2
	}
	if *askHealth {
		return healthcheck(os.Stderr)
	}
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

func serve(ctx context.Context, passed systemd.Passed, log *slog.Logger) int {
	b, err := start(ctx, passed, log)
	var faults *config.Error
	if errors.As(err, &faults) {
		for _, fault := range faults.Faults {
			log.Error("configuration: " + fault)
		}
		log.Error(fmt.Sprintf("cannot start: %d fault(s) in the configuration, listed above", len(faults.Faults)))
		refuse(ctx, passed.Sockets, "fjmcp-broker cannot start: its configuration is at fault. The operator finds what is wrong with: journalctl -u fjmcp-broker.service", log)
		return config.ExitStatus
	}
	if err != nil {
		log.Error("cannot start: " + err.Error())
		refuse(ctx, passed.Sockets, "fjmcp-broker cannot start. The operator finds what is wrong with: journalctl -u fjmcp-broker.service", log)
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
	if err == nil {
		err = checkLandlock(cfg)
	}
	if err != nil {
		return nil, err
	}
	return assemble(ctx, cfg, passed, log)
}

// refuse tells clients and fjmcpctl.
func refuse(ctx context.Context, sockets map[string][]net.Listener, message string, log *slog.Logger) {
	httpserver.Refuse(ctx, slices.Concat(sockets["http"], sockets["admin"]), message, log)
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: fjmcp-broker [--version | --healthcheck]\n\nIt takes its configuration from the environment, see fjmcp-broker.env(5).")
}
