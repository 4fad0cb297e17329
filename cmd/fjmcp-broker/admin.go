package main

import (
	"context"
	"net"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// serveAdmin serves fjmcpctl until ctx ends.
func (s *server) serveAdmin(ctx context.Context) error {
	var sockets []net.Listener
	for _, l := range s.sockets["admin"] {
		sockets = append(sockets, admin.Peers(l))
	}
	if len(sockets) == 0 {
		return nil
	}
	handler := admin.Handler(s.operator, s.log)
	return httpserver.Serve(ctx, sockets, handler, s.operator.Release, s.log)
}
