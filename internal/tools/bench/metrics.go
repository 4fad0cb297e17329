package main

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/localbroker"
)

const metricsOff, metricsOn = "Metrics/off", "Metrics/on"

// withMetrics measures a small call at a broker that is scraped in each of its turns, which
// is much more often than Prometheus does, beside one without metrics.
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
	need(r.inTurn(ctx, cfg.rounds, []turn{
		{{metricsOff, func(ctx context.Context) (slice, error) { return calls(ctx, without, smallCall, cfg.slice) }}},
		{{metricsOn, func(ctx context.Context) (slice, error) {
			scraped := make(chan error, 1)
			go func() { scraped <- scrape(ctx, url) }()
			s, err := calls(ctx, with, smallCall, cfg.slice)
			return s, errors.Join(err, <-scraped)
		}}},
	}, cfg.line))
	need(errors.Join(r[metricsOff].failed, r[metricsOn].failed))
	took, rate := r.ratio(metricsOn, metricsOff, (*series).medians), r.ratio(metricsOn, metricsOff, (*series).rates)
	r.table(cfg.out, "Small call with metrics, which are scraped in each turn", "this ÷ without (quartiles of the rounds)", []row{
		{"without", metricsOff, spreadOf(nil)}, {"with", metricsOn, took},
	})
	return []figure{
		{"small call with metrics, p50, by without", took.Median, "times", "at most", 1.03},
		{"calls a second with metrics, by without", rate.Median, "times", "at least", 0.97},
	}
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
