package operator

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
)

// lookTimeout bounds how long each part may take to answer.
const lookTimeout = 5 * time.Second

// Status looks at all parts of the broker at once.
func (o *Operator) Status(ctx context.Context) admin.Status {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	settings := o.cfg.Settings
	s := admin.Status{
		Version: version.String(), Started: o.started, PublicURL: settings.PublicURL.String(),
		Forgejo: admin.ForgejoStatus{URL: settings.ForgejoURL.String()}, Launcher: admin.LauncherStatus{Kind: settings.Launcher},
	}
	s.DrainingSince, _ = o.cfg.Sessions.Door()
	var looks errgroup.Group
	looks.Go(func() (err error) {
		s.Forgejo.Version, err = o.cfg.Forgejo.Version(ctx)
		s.Forgejo.Problem = problem(err)
		return nil
	})
	looks.Go(func() error {
		s.Launcher.Problem = problem(o.cfg.Launcher.Check(ctx))
		return nil
	})
	looks.Go(func() error {
		s.Store, s.Sessions = o.counts(ctx)
		return nil
	})
	_ = looks.Wait()
	s.Assess()
	return s
}

// counts looks at the database, and at the sessions, which are in it.
func (o *Operator) counts(ctx context.Context) (admin.StoreStatus, admin.SessionsStatus) {
	sum, sumErr := o.cfg.Store.Summary(ctx)
	views, listErr := o.cfg.Sessions.List(ctx)
	sessions := admin.SessionsStatus{
		Running: len(o.cfg.Sessions.Awake()), Warm: o.cfg.Sessions.Waiting(), Max: o.cfg.Settings.SessionsMax, PerUser: o.cfg.Settings.SessionsPerUser, InFlight: len(o.calls()),
	}
	for _, v := range views {
		if !v.Running() {
			sessions.Dormant++
		}
	}
	return admin.StoreStatus{
		Path: sum.Path, Bytes: sum.Bytes, Schema: sum.Schema, Users: sum.Users, Clients: sum.Clients, Logins: sum.Grants,
		Sealed: sum.Sealed, OlderKey: sum.Older, Unreadable: sum.Unreadable,
		Problem: problem(errors.Join(sumErr, listErr, o.cfg.Store.Check(ctx))),
	}, sessions
}

// problem is what an operator is told of err, "" for none.
func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
