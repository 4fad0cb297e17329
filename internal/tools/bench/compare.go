package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

// endpoints reads further baselines, name=URL[,name=URL].
func endpoints(list string) ([]target, error) {
	var targets []target
	for item := range strings.SplitSeq(list, ",") {
		if item == "" {
			continue
		}
		name, url, ok := strings.Cut(item, "=")
		if !ok || name == "" || strings.ContainsAny(name, "/ \t") || slices.Contains([]string{"broker", "stdio", supergatewayName}, name) {
			return nil, fmt.Errorf("want name=URL[,name=URL] with names of their own, got %q", item)
		}
		e, err := newEndpoint(url, "")
		if err != nil {
			return nil, err
		}
		targets = append(targets, e.target(name))
	}
	return targets, nil
}

// comparison measures and writes a line per round for benchstat, then tables. A baseline
// that is not there, or fails, is said to be missing; nothing takes its place.
func comparison(ctx context.Context, cfg config) error {
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
	r := newReport(cfg.out)
	if err := cfg.compare(ctx, forge, dir, r); err != nil {
		return err
	}
	if cfg.only.MatchString("Memory") {
		fmt.Fprintln(cfg.progress, "measuring: memory")
		if r.memory, err = measureMemory(ctx, cfg, forge, dir); err != nil {
			return err
		}
		r.memoryLines()
	}
	r.tables()
	return nil
}

// compare measures the broker beside the baselines.
func (cfg config) compare(ctx context.Context, forge *localbroker.Forge, dir string, r *report) error {
	state := filepath.Join(dir, "broker")
	if err := os.Mkdir(state, 0o700); err != nil {
		return err
	}
	b, err := startBroker(ctx, cfg, forge, state)
	if err != nil {
		return err
	}
	defer b.stop()
	through := b.target("broker")
	child := []string{cfg.child, "--transport", "stdio", "--url", strings.Replace(forge.URL, "forgejo.localhost", "127.0.0.1", 1)}
	targets := []target{through, stdioTarget(child...)}
	r.names = []string{through.name, "stdio", supergatewayName}
	sg, stop, err := startSupergateway(ctx, cfg.supergateway, child...)
	if err != nil {
		r.missing[supergatewayName] = err
	} else {
		defer stop()
		targets = append(targets, sg)
	}
	for _, t := range cfg.http {
		targets = append(targets, t)
		r.names = append(r.names, t.name)
	}
	for _, m := range measures(cfg.tool) {
		if !cfg.only.MatchString(m.name) {
			continue
		}
		fmt.Fprintln(cfg.progress, "measuring:", m.title)
		results, err := m.run(ctx, cfg, targets, func(t target, s slice) { r.sliceLine(m, t, s) })
		if err != nil {
			return err
		}
		if err := results[through.name].failed; err != nil {
			return errors.Join(err, errors.New(b.lastWords()))
		}
		r.done = append(r.done, measured{m, results})
	}
	return nil
}
