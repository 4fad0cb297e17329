package main

import (
	"context"
	"fmt"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// rotateKey moves everything to the current key and audits that.
func rotateKey(st *store.Store, events *audit.Logger) func(context.Context) (admin.Rotation, error) {
	return func(ctx context.Context) (admin.Rotation, error) {
		n, err := st.Reseal(ctx)
		e := audit.Event{Kind: audit.KeyRotated, Outcome: "ok", Detail: fmt.Sprintf("%d of %d values moved, %d unreadable", n.Moved, n.Values, n.Unreadable)}
		if err != nil || n.Unreadable > 0 {
			e.Outcome, e.Failed = "error", true
		}
		events.Event(ctx, e)
		return admin.Rotation(n), err
	}
}
