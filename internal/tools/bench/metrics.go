package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

const metricsOff, metricsOn, scraped = "Metrics/off", "Metrics/on", "Metrics/scrape"

// withMetrics measures a small call at a broker with metrics beside one without, and a scrape
// before each of its turns.
func withMetrics(ctx context.Context, cfg config, forge *fakeforge.Server, r results) (figures []figure, err error) {
	address, err := localbroker.FreeAddress("0")
	if err != nil {
		return nil, err
	}
	err = withBroker(ctx, cfg, forge, func(off *broker) {
		need(withBroker(ctx, cfg, forge, func(on *broker) {
			figures = compareMetrics(ctx, cfg, off, on, "http://"+address+"/metrics", r)
		}, "FJMCP_BROKER_METRICS_LISTEN="+address))
	})
	return figures, err
}

func compareMetrics(ctx context.Context, cfg config, off, on *broker, url string, r results) []figure {
	without := must(openAll(ctx, off.target(metricsOff), 1, smallCall))
	defer func() { _ = closeAll(without) }()
	with := must(openAll(ctx, on.target(metricsOn), 1, smallCall))
	defer func() { _ = closeAll(with) }()
	calling := func(sessions []session) func(context.Context) (slice, error) {
		return func(ctx context.Context) (slice, error) { return calls(ctx, sessions, smallCall, cfg.slice) }
	}
	scraping := func(ctx context.Context) (slice, error) {
		began := time.Now()
		err := scrape(ctx, url)
		return once(time.Since(began), err)
	}
	need(r.inTurn(ctx, cfg.rounds, []turn{
		{{metricsOff, calling(without)}}, {{scraped, scraping}, {metricsOn, calling(with)}},
	}, cfg.line))
	need(errors.Join(r[metricsOff].failed, r[metricsOn].failed, r[scraped].failed))
	took := r.ratio(metricsOn, metricsOff, (*series).medians)
	r.table(cfg.out, "Small call with metrics, and a scrape", "this ÷ without (quartiles of the rounds)", []row{
		{"without", metricsOff, spreadOf(nil)}, {"with", metricsOn, took}, {"scrape", scraped, spreadOf(nil)},
	})
	return []figure{{"small call with metrics, p50, by without", took.Median, "times", "at most", 1.03}}
}

func scrape(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("a scrape gives " + resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
