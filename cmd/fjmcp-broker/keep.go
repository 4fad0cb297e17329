package main

import (
	"context"
	"os"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// descriptorStore is the service manager's, as a unit.Keeper.
type descriptorStore struct{}

// Keep implements unit.Keeper.
func (descriptorStore) Keep(ctx context.Context, id string, files ...*os.File) error {
	return systemd.StoreFiles(ctx, id, files...)
}

// Forget implements unit.Keeper.
func (descriptorStore) Forget(id string) error { return systemd.ForgetFiles(id) }

// keeper is nil where sessions end with the broker.
func keeper(cfg *config.Config) unit.Keeper {
	if cfg.Launcher != config.LauncherSystemd || os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return descriptorStore{}
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
