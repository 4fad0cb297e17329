package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

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
		if !ok || name == "" || strings.ContainsAny(name, "/ \t") || slices.Contains([]string{"broker", "stdio", supergateway}, name) {
			return nil, fmt.Errorf("want name=URL[,name=URL] with names of their own, got %q", item)
		}
		e, err := newEndpoint(url)
		if err != nil {
			return nil, err
		}
		targets = append(targets, e.target(name))
	}
	return targets, nil
}

// measure is one thing measured of every target.
type measure struct {
	name, title string
	sessions    int                     // that send at the same time
	request     request                 // zero: sessions are begun and ended
	value       func(*series) []float64 // by which targets are compared
}

func (cfg config) measures() []measure {
	all := []measure{
		{"Start", "Start of a session, to the answer to initialize", 1, request{}, (*series).medians},
		{"Call", "Small call (get_forgejo_mcp_server_version)", 1, smallCall, (*series).medians},
		{"List", "tools/list", 1, toolsList, (*series).medians},
		{"Sessions8", "Small calls of 8 sessions at once", 8, smallCall, (*series).rates},
		{"Sessions64", "Small calls of 64 sessions at once", 64, smallCall, (*series).rates},
	}
	return slices.DeleteFunc(all, func(m measure) bool { return !cfg.only.MatchString(m.name) })
}

// via names what a target gives, for benchstat too.
func (m measure) via(target string) string { return m.name + "/via=" + target }

// compare measures the broker beside the baselines and writes a line for each turn that
// benchstat(1) reads, then tables. A baseline that is not there, or fails, is said to be
// missing; nothing takes its place.
func compare(ctx context.Context, cfg config) error {
	forge, err := localbroker.StartForge("0")
	if err != nil {
		return err
	}
	defer forge.Stop()
	fmt.Fprintf(cfg.out, "goos: %s\ngoarch: %s\npkg: github.com/fjmcp/fjmcp-broker/internal/tools/bench\n", runtime.GOOS, runtime.GOARCH)
	child := []string{cfg.child, "--transport", "stdio", "--url", strings.Replace(forge.URL, "forgejo.localhost", "127.0.0.1", 1)}
	gateway, stop, missing := startSupergateway(ctx, cfg.supergateway, child...)
	defer stop()
	if missing != nil {
		gateway = target{supergateway, func(context.Context) (session, time.Duration, error) { return nil, 0, missing }}
	}
	targets := append([]target{{name: "broker"}, stdioTarget(child...), gateway}, cfg.http...)
	r := results{}
	err = withBroker(ctx, cfg, forge, func(b *broker) {
		targets[0] = b.target("broker")
		for _, m := range cfg.measures() {
			fmt.Fprintln(cfg.progress, "measuring:", m.title)
			need(m.run(ctx, cfg, targets, r))
			need(r[m.via("broker")].failed)
		}
	})
	var beside, measured, ruled, memory []figure
	if err == nil && cfg.only.MatchString("Beside") {
		fmt.Fprintln(cfg.progress, "measuring: a call beside hostile sessions")
		err = withBroker(ctx, cfg, forge, func(b *broker) { beside = b.beside(ctx, cfg, forge, r) })
	}
	if err == nil && cfg.only.MatchString("Metrics") {
		fmt.Fprintln(cfg.progress, "measuring: a call with metrics")
		measured, err = withMetrics(ctx, cfg, forge, r)
	}
	if err == nil && cfg.only.MatchString("Policy") {
		fmt.Fprintln(cfg.progress, "measuring: a call under a policy")
		ruled, err = withPolicies(ctx, cfg, forge, r)
	}
	if err == nil && cfg.only.MatchString("Memory") {
		fmt.Fprintln(cfg.progress, "measuring: memory")
		err = withBroker(ctx, cfg, forge, func(b *broker) { memory = b.memory(ctx, cfg) })
	}
	if err != nil {
		return err
	}
	for _, m := range cfg.measures() {
		var rows []row
		for _, t := range targets {
			rows = append(rows, row{t.name, m.via(t.name), r.ratio(m.via("broker"), m.via(t.name), m.value)})
		}
		r.table(cfg.out, m.title, "broker ÷ this (quartiles of the rounds)", rows)
	}
	writeFigures(cfg.out, "Broker by baseline, and private memory", slices.Concat(cfg.figures(r), beside, measured, ruled, memory))
	return nil
}

// figures are what is to hold against baselines.
func (cfg config) figures(r results) []figure {
	var all []figure
	add := func(text, name, baseline, bound string, limit float64) {
		for _, m := range cfg.measures() {
			if m.name == name {
				all = append(all, figure{text, r.ratio(m.via("broker"), m.via(baseline), m.value).Median, "times", bound, limit})
			}
		}
	}
	add("small call, p50, by tbxark's", "Call", "tbxark", "at most", 1)
	add("small call, p50, by supergateway's", "Call", supergateway, "at most", 1.0/3)
	add("calls a second of 8 sessions, by tbxark's", "Sessions8", "tbxark", "at least", 1)
	add("calls a second of 8 sessions, by supergateway's", "Sessions8", supergateway, "at least", 5)
	add("tools/list, p50, by stdio's", "List", "stdio", "at most", 1.2)
	return all
}

// run measures all targets in turn.
func (m measure) run(ctx context.Context, cfg config, targets []target, r results) error {
	var open []session
	defer func() { _ = closeAll(open) }()
	var turns []turn
	for _, t := range targets {
		take := func(ctx context.Context) (slice, error) {
			return repeat(ctx, cfg.slice, func() (time.Duration, error) { return t.once(ctx) })
		}
		if m.request != (request{}) {
			sessions, err := openAll(ctx, t, m.sessions, m.request)
			open = append(open, sessions...)
			take = func(ctx context.Context) (slice, error) {
				if err != nil {
					return slice{}, err
				}
				return calls(ctx, sessions, m.request, cfg.slice)
			}
		}
		turns = append(turns, turn{{m.via(t.name), take}})
	}
	return r.inTurn(ctx, cfg.rounds, turns, cfg.line)
}

// line writes what benchstat(1) reads of a slice.
func (cfg config) line(name string, s slice) {
	sum := 0.0
	for _, took := range s.took {
		sum += took
	}
	n, took := len(s.took), slices.Clone(s.took)
	fmt.Fprintf(cfg.out, "Benchmark%s-%d\t%d\t%.0f ns/op\t%.0f p50-ns\t%.0f p95-ns\t%.1f calls/s\n",
		name, runtime.GOMAXPROCS(0), n, sum/float64(n), quantile(took, 0.5), quantile(took, 0.95), s.rate)
}

// repeat does one thing after the other, once at least, until the time is over.
func repeat(ctx context.Context, d time.Duration, do func() (time.Duration, error)) (slice, error) {
	var s slice
	start := time.Now()
	for {
		took, err := do()
		if err != nil {
			return s, err
		}
		s.took = append(s.took, float64(took))
		if elapsed := time.Since(start); elapsed >= d || ctx.Err() != nil {
			s.rate = float64(len(s.took)) / elapsed.Seconds()
			return s, ctx.Err()
		}
	}
}

// calls has all sessions send at the same time, each one request after the other,
// and looks at the last response of each.
func calls(ctx context.Context, sessions []session, r request, d time.Duration) (total slice, err error) {
	parts := make([]slice, len(sessions))
	start := time.Now()
	err = atOnce(len(sessions), len(sessions), func(i int) (err error) {
		var last []byte
		parts[i], err = repeat(ctx, d, func() (took time.Duration, err error) {
			last, took, err = sessions[i].Call(r)
			return took, err
		})
		if err != nil {
			return err
		}
		return check(last)
	})
	for _, p := range parts {
		total.took = append(total.took, p.took...)
	}
	total.rate = float64(len(total.took)) / time.Since(start).Seconds()
	return total, err
}

const (
	openAtOnce = 8  // clients that begin a session at the same time
	warmUp     = 20 // calls that a session makes before it is measured
)

// openAll begins n sessions and warms them up. Those that were begun are to be closed
// after an error as well.
func openAll(ctx context.Context, t target, n int, r request) ([]session, error) {
	sessions := make([]session, n)
	return sessions, atOnce(n, openAtOnce, func(i int) (err error) {
		if sessions[i], _, err = t.open(ctx); err != nil {
			return err
		}
		for range warmUp {
			if _, _, err := checked(sessions[i], r); err != nil {
				return err
			}
		}
		return nil
	})
}

func closeAll[C io.Closer](all []C) error {
	return atOnce(len(all), openAtOnce, func(i int) error {
		if any(all[i]) == nil {
			return nil
		}
		return all[i].Close()
	})
}
