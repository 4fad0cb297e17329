package main

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/launcher/credential"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// tidyInterval is for expired rows and orphaned units. It is shorter than the
// launcher stays without being asked anything, so that no start has to wait for
// the launcher's own.
const tidyInterval = 5 * time.Minute

// flushTimeout is how long the end waits for a journal that is away.
const flushTimeout = 2 * time.Second

// serve runs until ctx ends and leaves nothing behind.
func (s *server) serve(ctx context.Context) error {
	if err := tellRestores(ctx, s.store, s.audit); err != nil {
		s.log.Error("cannot tell the audit of a restore; the next start tries again", "error", err)
	}
	s.sessions.Expect()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return httpserver.Serve(ctx, s.sockets["http"], s.handler, s.mcp.Drain, s.log) })
	g.Go(func() error { return s.serveAdmin(ctx) })
	g.Go(func() error { return s.serveMetrics(ctx) })
	defer s.serveCredentials(ctx)()
	g.Go(func() error { return systemd.Watchdog(ctx, s.alive) })
	g.Go(func() error { s.health.Run(ctx); return nil })
	g.Go(func() error { s.restore(ctx); s.tidy(ctx); return nil })
	if err := systemd.Notify(systemd.Ready); err != nil {
		s.log.Warn(err.Error())
	}
	err := g.Wait()
	return errors.Join(err, s.close())
}

// alive does not return where requests would hang for good. What a new process would find
// as it is, such as a full disk or a damaged file, is for health to tell: no restart mends
// it.
func (s *server) alive() bool {
	s.sessions.Awake()
	return true
}

// serveAdmin serves fjmcpctl until ctx ends.
func (s *server) serveAdmin(ctx context.Context) error {
	var sockets []net.Listener
	for _, l := range s.sockets["admin"] {
		sockets = append(sockets, admin.Peers(l))
	}
	if len(sockets) == 0 {
		return nil
	}
	return httpserver.Serve(ctx, sockets, admin.Handler(s.operator, s.log), s.operator.Release, s.log)
}

// serveCredentials continues while requests drain, since one of them may start a
// session; the function it returns ends it.
func (s *server) serveCredentials(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	for _, l := range s.sockets["credentials"] {
		g.Go(func() error { return credential.Serve(ctx, l, s.sessions.Token, s.log) })
	}
	return func() {
		cancel()
		if err := g.Wait(); err != nil {
			s.log.Error("cannot serve credentials", "error", err)
		}
	}
}

// restore continues with the sessions of the process before, also when ctx ends
// meanwhile: what is not restored would be lost for the next process, too. What it
// cannot do is left to Reconcile and to the sessions' next requests.
func (s *server) restore(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if err := s.sessions.Restore(ctx, s.kept, s.mcp.Resume); err != nil {
		s.log.Error("cannot continue with sessions; they will wake in other units", "error", err)
	}
	if err := s.sessions.Reconcile(ctx); err != nil {
		s.log.Warn("cannot reconcile session units; trying again later", "error", err)
	}
}

// tidy collects what nobody needs any more, now and then.
func (s *server) tidy(ctx context.Context) {
	if err := s.auth.Tidy(ctx); err != nil {
		s.log.Warn("cannot finish logins that were cut off; trying again later", "error", err)
	}
	tick := time.NewTicker(tidyInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := errors.Join(s.store.Collect(ctx), s.sessions.Reconcile(ctx), s.auth.Tidy(ctx)); err != nil && ctx.Err() == nil {
			s.log.Error("cannot tidy up; trying again later", "error", err)
		}
	}
}

func (s *server) close() error {
	_ = systemd.Notify(systemd.Stopping)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.rights.Close()
	s.sessions.Shutdown(ctx)
	if err := s.tokens.Close(ctx); err != nil {
		s.log.Error(err.Error())
	}
	flush, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := s.audit.Flush(flush); err != nil {
		s.log.Error(err.Error())
	}
	return errors.Join(s.launcher.Close(), s.store.Close())
}
