// Command benchstarts is the third part of `make bench`: starts, wakes and memory of
// sessions under the systemd launcher (package measure/starts). It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
	"github.com/fjmcp/fjmcp-broker/internal/tools/bench/starts"
)

func main() {
	cfg := starts.Config{Out: os.Stdout, Progress: os.Stderr}
	flag.StringVar(&cfg.Deb, "deb", "", "the package to install")
	flag.StringVar(&cfg.Child, "child", "bin/bench-child", "MCP server behind it")
	flag.StringVar(&cfg.Forker, "forker", "bin/forker", "program that starts the child alone")
	flag.StringVar(&cfg.Tool, "tool", "get_forgejo_mcp_server_version", "tool for the small call; it takes no arguments")
	flag.IntVar(&cfg.Rounds, "rounds", 30, "how often each measure has its turn")
	crowd := flag.Int("crowd", 0, "measure with that many sessions at once instead, on Debian 12 and 13")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := nspawn.Check(); err != nil {
		fmt.Printf("\nStarts under the systemd launcher: skipped, %v\n", err)
		return
	}
	measure := starts.Run
	if *crowd > 0 {
		measure = func(ctx context.Context, cfg starts.Config) error { return starts.RunCrowd(ctx, cfg, *crowd) }
	}
	if err := measure(ctx, cfg); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "benchstarts:", err)
		os.Exit(1)
	}
}
