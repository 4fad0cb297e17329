// Package operator is what an operator sees of a running broker, and does to it: the
// look at all of its parts, the sessions and their calls in flight, the end of
// sessions, the drain before maintenance, and the clients that cannot register
// themselves.
package operator

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Config is what an Operator is made of. All fields are required, unless they say so.
type Config struct {
	Settings *config.Config
	Rights   *rights.Rights
	Sessions *session.Manager
	Store    *store.Store
	Keys     *seal.Keyring // of Store
	Health   *health.Health
	// ForgejoVersion is what the forge said last; "" if it does not say.
	ForgejoVersion func() string
	Audit          *audit.Logger
	Log            *slog.Logger
	Now            func() time.Time
	// Revoked is told of every grant that ends with its client.
	Revoked func(ctx context.Context, grantID string)
	// PolicyLoaded is told the names of the policy's rules when one is in force; may be nil.
	PolicyLoaded func(rules []string)
	// Believed reports whether the X-Forwarded-For of a request counts.
	Believed func(*http.Request) bool
}

// Operator implements admin.Operator. It is safe for concurrent use.
type Operator struct {
	cfg      Config
	started  time.Time
	released chan struct{}
	release  sync.Once
	trials   trials
	backup   sync.Mutex // held while one is made
	policy   policing
}

var _ admin.Operator = (*Operator)(nil)

// New returns the Operator of one broker.
func New(cfg Config) *Operator {
	return &Operator{cfg: cfg, started: cfg.Now(), released: make(chan struct{}), trials: trials{open: map[string]time.Time{}}}
}

// Release ends all waits for calls in flight: the broker itself is about to end.
func (o *Operator) Release() { o.release.Do(func() { close(o.released) }) }

// sessionOf is a session in the operator's words.
func sessionOf(v session.View) admin.Session {
	s := admin.Session{
		ID: v.Label, User: v.UserName, UserID: v.Subject, Client: v.ClientName, ClientID: v.ClientID, Kind: string(v.Kind), State: admin.Dormant, Unit: v.Unit,
		Protocol: v.Protocol, ReadOnly: v.ReadOnly, Created: v.CreatedAt, LastUsed: v.LastUsedAt, InFlight: len(v.Calls),
	}
	if v.Running() {
		s.State = admin.Running
	}
	return s
}

// callsOf are calls in flight in the operator's words.
func callsOf(v session.View) []admin.Call {
	all := make([]admin.Call, len(v.Calls))
	for i, c := range v.Calls {
		all[i] = admin.Call{Session: v.Label, User: v.UserName, Method: c.Method, Tool: c.Tool, Began: c.Began}
	}
	return all
}

// countTimeout bounds the look at what is in the database.
const countTimeout = 5 * time.Second

// Status tells what the checks found, which are looked at anew where that is too old, and
// how much there is of everything.
func (o *Operator) Status(ctx context.Context) admin.Status {
	settings := o.cfg.Settings
	s := admin.Status{
		Version: version.String(), Started: o.started, PublicURL: settings.PublicURL.String(),
		Forgejo: admin.ForgejoStatus{URL: settings.ForgejoURL.String()}, Launcher: admin.LauncherStatus{Kind: settings.Launcher},
	}
	s.DrainingSince, _ = o.cfg.Sessions.Door()
	var counted errgroup.Group
	counted.Go(func() error {
		s.Store, s.Sessions = o.counts(ctx)
		return nil
	})
	s.Policy = o.PolicyStatus()
	s.Checks = o.cfg.Health.Look(ctx)
	_ = counted.Wait()
	s.Forgejo.Version = o.cfg.ForgejoVersion()
	s.Assess()
	return s
}

// counts looks at the database, and at the sessions, which are in it.
func (o *Operator) counts(ctx context.Context) (admin.StoreStatus, admin.SessionsStatus) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	sum, sumErr := o.cfg.Store.Summary(ctx)
	views, listErr := o.cfg.Sessions.List(ctx)
	sessions := admin.SessionsStatus{
		Running: len(o.cfg.Sessions.Awake()), Warm: o.cfg.Sessions.Waiting(), InFlight: len(o.calls()),
		Max: o.cfg.Settings.SessionsMax, PerUser: o.cfg.Settings.SessionsPerUser,
	}
	for _, v := range views {
		if !v.Running() {
			sessions.Dormant++
		}
	}
	granted, grantErr := o.cfg.Store.Granted(ctx)
	broader, narrower := compared(granted.Scopes, strings.Join(o.cfg.Settings.ForgejoScopes, " "))
	return admin.StoreStatus{
		UsersLost: granted.Lost, UsersBroader: broader, UsersNarrower: narrower,
		Path: sum.Path, Bytes: sum.Bytes, Schema: sum.Schema, Users: sum.Users, Clients: sum.Clients, Logins: sum.Grants,
		Sealed: sum.Sealed, OlderKey: sum.Older, Unreadable: sum.Unreadable,
		Problem: problem(errors.Join(sumErr, listErr, grantErr)),
	}, sessions
}

// compared counts users who have granted more at the forge than is asked for, or less.
func compared(uses []store.ScopeUse, asked string) (broader, narrower int) {
	for _, use := range uses {
		switch {
		case use.Scope == "" || forgejo.ScopeSame(use.Scope, asked): // or it is not known
		case forgejo.ScopeWithin(use.Scope, asked):
			narrower += use.Users
		default:
			broader += use.Users
		}
	}
	return broader, narrower
}

// problem is what an operator is told of err, "" for none.
func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
