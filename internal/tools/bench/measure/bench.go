package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

// Config says what to measure, and how long.
type Config struct {
	Broker       string   // fjmcp-broker, with fjmcp-session beside it
	Child        string   // the MCP server behind it, started as forgejo-mcp is
	Tool         string   // of the child, for the small call; it takes no arguments
	Supergateway string   // directory of its package-lock.json
	HTTP         []Target // further baselines
	Rounds       int      // how often each target has its turn
	Slice        time.Duration
	Only         *regexp.Regexp // names of the measures, Memory among them
	Idle         int            // sessions that wait while memory is measured; the figures are about 200
	Out          io.Writer
	Progress     io.Writer
}

// Endpoints reads further baselines, name=URL[,name=URL].
func Endpoints(list string) ([]Target, error) {
	var targets []Target
	for item := range strings.SplitSeq(list, ",") {
		if item == "" {
			continue
		}
		name, url, ok := strings.Cut(item, "=")
		if !ok || name == "" || strings.ContainsAny(name, "/ \t") || name == "broker" || name == "stdio" || name == supergatewayName {
			return nil, fmt.Errorf("want name=URL[,name=URL] with names of their own, got %q", item)
		}
		t, err := HTTP(name, url, "")
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// Run measures and writes a line per round for benchstat, then tables. A baseline
// that is not there, or fails, is said to be missing; nothing takes its place.
func Run(ctx context.Context, cfg Config) error {
	dir, err := os.MkdirTemp("", "fjmcp-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	forge, err := localbroker.StartForge("0")
	if err != nil {
		return err
	}
	defer forge.Stop()
	r := newReport(cfg)
	if err := cfg.compare(ctx, forge, dir, r); err != nil {
		return err
	}
	if cfg.Only.MatchString("Memory") {
		fmt.Fprintln(cfg.Progress, "measuring: memory")
		if r.memory, err = measureMemory(ctx, cfg, forge, dir); err != nil {
			return err
		}
		r.lines.memory(r.memory)
	}
	r.tables()
	return nil
}

// compare measures the broker beside the baselines.
func (cfg Config) compare(ctx context.Context, forge *localbroker.Forge, dir string, r *report) error {
	state := filepath.Join(dir, "broker")
	if err := os.Mkdir(state, 0o700); err != nil {
		return err
	}
	b, err := startBroker(ctx, cfg, forge, state)
	if err != nil {
		return err
	}
	defer b.stop()
	through, err := b.target()
	if err != nil {
		return err
	}
	child := []string{cfg.Child, "--transport", "stdio", "--url", strings.Replace(forge.URL, "forgejo.localhost", "127.0.0.1", 1)}
	targets := []Target{through, Stdio(child...)}
	r.names = []string{through.Name, "stdio", supergatewayName}
	sg, stop, err := startSupergateway(ctx, cfg.Supergateway, child...)
	if err != nil {
		r.missing[supergatewayName] = err
	} else {
		defer stop()
		targets = append(targets, sg)
	}
	for _, t := range cfg.HTTP {
		targets = append(targets, t)
		r.names = append(r.names, t.Name)
	}
	for _, m := range measures(cfg.Tool) {
		if !cfg.Only.MatchString(m.name) {
			continue
		}
		fmt.Fprintln(cfg.Progress, "measuring:", m.title)
		results, err := m.run(ctx, cfg, targets, func(t Target, s slice) { r.lines.slice(m, t, s) })
		if err != nil {
			return err
		}
		if err := results[through.Name].failed; err != nil {
			return errors.Join(err, errors.New(b.lastWords()))
		}
		r.add(m, results)
	}
	return nil
}
