package main

import (
	"context"
	"net"

	"golang.org/x/net/netutil"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/metrics"
)

// mostScrapers bounds the connections to a socket for metrics.
const mostScrapers = 32

// newMetrics returns nil where nobody can scrape.
func (s *server) newMetrics(cfg *config.Config) *metrics.Metrics {
	if len(s.sockets["metrics"]) == 0 && cfg.MetricsListen == "" {
		return nil
	}
	return metrics.New(cfg.PublicURL.Path)
}

// listenMetrics opens the socket for metrics, unless the service manager passed one. A
// broker that cannot have it serves without.
func (s *server) listenMetrics(cfg *config.Config) {
	if len(s.sockets["metrics"]) > 0 || cfg.MetricsListen == "" {
		return
	}
	l, err := net.Listen("tcp", cfg.MetricsListen)
	if err != nil {
		s.log.Error("cannot listen on FJMCP_BROKER_METRICS_LISTEN="+cfg.MetricsListen+"; there are no metrics", "error", err)
		return
	}
	s.sockets["metrics"] = []net.Listener{l}
	s.log.Info("listening for scrapes", "url", "http://"+l.Addr().String()+"/metrics")
}

// serveMetrics answers scrapes until ctx ends.
func (s *server) serveMetrics(ctx context.Context) error {
	var sockets []net.Listener
	for _, l := range s.sockets["metrics"] {
		sockets = append(sockets, netutil.LimitListener(l, mostScrapers))
	}
	if s.metrics == nil || len(sockets) == 0 {
		return nil
	}
	return httpserver.Serve(ctx, sockets, s.metrics.Handler(s.log), nil, s.log)
}
