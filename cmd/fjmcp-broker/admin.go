package main

import (
	"context"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
	"github.com/fjmcp/fjmcp-broker/internal/config"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/spawn"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/version"
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
	handler := admin.Handler(admin.Config{
		Sessions: drainable{s.sessions, ctx}, Clients: s.auth.Clients(), Status: s.status, RotateKey: s.rotate, Launcher: s.kind, Log: s.log,
	})
	return httpserver.Serve(ctx, sockets, handler, nil, s.log)
}

// drainable does not wait for calls any more when the broker itself ends.
type drainable struct {
	*session.Manager
	serving context.Context
}

// Drain implements admin.Sessions.
func (d drainable) Drain(ctx context.Context) (admin.Drain, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.serving, cancel)()
	return d.Manager.Drain(ctx)
}

// inspector looks at all parts of the broker for its operator.
type inspector struct {
	cfg      *config.Config
	started  time.Time
	forge    *forgejo.Client
	launcher spawn.Launcher
	store    *store.Store
	sessions *session.Manager
}

// lookTimeout bounds how long each part may take to answer.
const lookTimeout = 5 * time.Second

func (i *inspector) status(ctx context.Context) admin.Status {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s := admin.Status{
		Version: version.String(), Started: i.started, DrainingSince: i.sessions.DrainingSince(), PublicURL: i.cfg.PublicURL.String(),
		Forgejo:  admin.ForgejoStatus{URL: i.cfg.ForgejoURL.String()},
		Launcher: admin.LauncherStatus{Kind: i.cfg.Launcher},
	}
	var looks errgroup.Group
	looks.Go(func() (err error) {
		s.Forgejo.Version, err = i.forge.Version(ctx)
		s.Forgejo.Problem = problem(err)
		return nil
	})
	looks.Go(func() error {
		s.Launcher.Problem = problem(i.launcher.Check(ctx))
		return nil
	})
	looks.Go(func() error {
		s.Store, s.Sessions = i.lookAtStore(ctx)
		return nil
	})
	_ = looks.Wait()
	s.Assess()
	return s
}

func (i *inspector) lookAtStore(ctx context.Context) (admin.StoreStatus, admin.SessionsStatus) {
	sum, err := i.store.Summary(ctx)
	if err == nil {
		err = i.store.Check(ctx)
	}
	load, loadErr := i.sessions.Load(ctx)
	if err == nil {
		err = loadErr
	}
	return admin.StoreStatus{
		Path: sum.Path, Bytes: sum.Bytes, Schema: sum.Schema, Users: sum.Users, Clients: sum.Clients, Logins: sum.Grants,
		Sealed: sum.Sealed, OlderKey: sum.Older, Unreadable: sum.Unreadable, Problem: problem(err),
	}, load
}

// problem is what an operator is told of err, "" for none.
func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
