package operator

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// Config is what an Operator is made of. All fields are required.
type Config struct {
	Settings *config.Config
	Sessions *session.Manager
	Store    *store.Store
	Forgejo  *forgejo.Client
	Launcher launchclient.Launcher
	Audit    *audit.Logger
	Log      *slog.Logger
	Now      func() time.Time
	// Revoked is told of every grant that ends with its client.
	Revoked func(ctx context.Context, grantID string)
}

// Operator implements admin.Operator. It is safe for concurrent use.
type Operator struct {
	cfg      Config
	started  time.Time
	released chan struct{}
	release  sync.Once
}

var _ admin.Operator = (*Operator)(nil)

// New returns the Operator of one broker.
func New(cfg Config) *Operator {
	return &Operator{cfg: cfg, started: cfg.Now(), released: make(chan struct{})}
}

// Release ends all waits for calls in flight: the broker itself is about to end.
func (o *Operator) Release() { o.release.Do(func() { close(o.released) }) }

// sessionOf is a session in the operator's words.
func sessionOf(v session.View) admin.Session {
	s := admin.Session{
		ID: v.Label, User: v.UserName, Client: v.ClientName, ClientID: v.ClientID, Kind: string(v.Kind), State: admin.Dormant, Unit: v.Unit,
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
