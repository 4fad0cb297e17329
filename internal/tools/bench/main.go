// Command bench is `make bench` and `make starts`. It measures the broker beside other
// ways to the same MCP server:
//
//	        ┌─ fjmcp-broker ── fjmcp-session ─ child    OAuth, a child a session
//	client ─┼─ pipes ─────────────────────── child      plain stdio
//	        ├─ supergateway ──────────────── child      npm, a child a session
//	        └─ any Streamable HTTP server               given by its URL
//
// All are spoken to by the same small client. They are measured in turn, a slice
// of time each, round after round, so that whatever else the machine does hits
// all alike; what counts are the ratios within one run. With -deb it measures starts
// under systemd, in a container, by the same rules. docs/benchmarks.md says how to run
// it and what came out.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// config says what to measure, and how long.
type config struct {
	self         string // this program
	broker       string // fjmcp-broker, with fjmcp-session beside it
	child        string // the MCP server behind it, started as forgejo-mcp is
	rounds       int    // how often each measure has its turn
	slice        time.Duration
	supergateway string         // directory of its package-lock.json
	http         []target       // further baselines
	only         *regexp.Regexp // names of the measures, Beside, Metrics, Policy and Memory among them
	idle         int            // sessions that wait while memory is measured; the figures are about 200
	out          io.Writer
	progress     io.Writer
	deb          string // the package
}

func main() {
	cfg := config{idle: 200, supergateway: "internal/tools/bench/supergateway", out: os.Stdout, progress: os.Stderr}
	flag.IntVar(&cfg.rounds, "rounds", 10, "how often each measure has its turn")
	flag.DurationVar(&cfg.slice, "slice", 400*time.Millisecond, "how long a turn lasts")
	flag.StringVar(&cfg.broker, "broker", "", "fjmcp-broker, with fjmcp-session beside it; the one beside this program without it")
	flag.StringVar(&cfg.child, "child", "", "MCP server behind all of them; the built-in stand-in without it")
	http := flag.String("http", "", "further baselines, name=URL[,name=URL], that speak Streamable HTTP")
	only := flag.String("run", "", "measure only what the regular `expression` matches of Start, Call, List, Sessions8, Sessions64, Beside, Metrics, Policy, Memory")
	flag.StringVar(&cfg.deb, "deb", "", "measure starts under systemd instead, with this package in a container (root)")
	most := flag.Int("crowd", 0, "with -deb: measure with that many sessions at once instead, on Debian 12 and 13")
	fork := flag.String("fork", "", "start the program of the arguments upon each HTTP request at this `address`, for -deb in the container")
	flag.Parse()
	if *fork != "" {
		fatal(serveForks(*fork, flag.Args()))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := cfg.complete(*http, *only)
	if err == nil {
		err = cfg.measure(ctx, *most)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// complete fills in what stands beside this program.
func (c *config) complete(http, only string) (err error) {
	defer caught(&err)
	c.self = must(os.Executable())
	bin := filepath.Dir(c.self)
	c.child = must(filepath.Abs(cmp.Or(c.child, filepath.Join(bin, "bench-child"))))
	c.broker = cmp.Or(c.broker, filepath.Join(bin, "fjmcp-broker"))
	c.http = must(endpoints(http))
	c.only = must(regexp.Compile(only))
	return nil
}

// measure measures what the flags ask for, with most sessions at once if not 0.
func (c config) measure(ctx context.Context, most int) error {
	if c.deb == "" {
		return compare(ctx, c)
	}
	if err := nspawn.Check(); err != nil {
		fmt.Fprintf(c.out, "\nStarts under the systemd launcher: skipped, %v\n", err)
		return nil
	}
	if most == 0 {
		return inContainer(ctx, c, "bookworm", mostLive, units)
	}
	for _, suite := range []string{"bookworm", "trixie"} {
		err := inContainer(ctx, c, suite, most, func(ctx context.Context, s *system) { crowd(ctx, s, most) })
		if err != nil {
			return fmt.Errorf("%d sessions on %s: %w", most, suite, err)
		}
	}
	return nil
}
