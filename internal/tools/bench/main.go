// Command bench is the first half of `make bench`: it measures the broker beside
// other ways to the same MCP server (package measure). The programs under test
// stand in its own directory.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/tools/bench/measure"
)

func main() {
	rounds := flag.Int("rounds", 10, "how often each baseline has its turn")
	slice := flag.Duration("slice", 400*time.Millisecond, "how long a turn lasts")
	http := flag.String("http", "", "further baselines, name=URL[,name=URL], that speak Streamable HTTP")
	tool := flag.String("tool", "get_forgejo_mcp_server_version", "tool for the small call; it takes no arguments")
	only := flag.String("run", "", "measure only what the regular `expression` matches of Start, Call, List, Sessions8, Sessions64, Memory")
	broker := flag.String("broker", "", "fjmcp-broker, with fjmcp-session beside it; the one beside this program without it")
	child := flag.String("child", "", "MCP server behind all of them; the built-in stand-in without it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cfg := measure.Config{Broker: *broker, Child: *child, Tool: *tool, Rounds: *rounds, Slice: *slice, Idle: 200}
	if err := run(ctx, cfg, *http, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg measure.Config, http, only string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Dir(self)
	if cfg.Child, err = filepath.Abs(cmp.Or(cfg.Child, filepath.Join(bin, "bench-child"))); err != nil {
		return err
	}
	if cfg.HTTP, err = measure.Endpoints(http); err != nil {
		return err
	}
	if cfg.Only, err = regexp.Compile(only); err != nil {
		return err
	}
	cfg.Broker = cmp.Or(cfg.Broker, filepath.Join(bin, "fjmcp-broker"))
	cfg.Supergateway = "internal/tools/bench/measure/supergateway"
	cfg.Out, cfg.Progress = os.Stdout, os.Stderr
	return measure.Run(ctx, cfg)
}
