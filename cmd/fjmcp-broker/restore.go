package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/cli"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore/apply"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// applyRestore does what fjmcpctl restore has the broker's user do, see package restore.
func applyRestore() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	backup := os.NewFile(3, "the backup")
	defer backup.Close()
	return cli.Failed("fjmcp-broker", apply.Run(ctx, os.Stdin, backup, os.Stdout))
}

// tellRestores audits restores that were done while no broker ran.
func tellRestores(ctx context.Context, s *store.Store, events *audit.Logger) error {
	all, err := s.Untold(ctx)
	for _, r := range all {
		events.Event(audit.By(ctx, r.Operator), audit.Event{Kind: audit.Restored, Outcome: r.Outcome, Detail: r.Detail, Failed: r.Outcome == restore.Stale})
	}
	return err
}
