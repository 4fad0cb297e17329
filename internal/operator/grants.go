package operator

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// ListGrants implements admin.Operator. What runs has been used later than is stored.
func (o *Operator) ListGrants(ctx context.Context) ([]admin.Grant, error) {
	rows, err := o.cfg.Store.Grants(ctx)
	if err != nil {
		return nil, err
	}
	list := grantsOf(rows)
	for _, v := range o.cfg.Sessions.Awake() {
		if i := slices.IndexFunc(list, func(g admin.Grant) bool { return g.ID == v.GrantID }); i >= 0 {
			list[i].LastUsed = later(list[i].LastUsed, v.LastUsedAt)
		}
	}
	return list, nil
}

// grantsOf are grants in the operator's words.
func grantsOf(rows []store.GrantUse) []admin.Grant {
	list := make([]admin.Grant, len(rows))
	for i, g := range rows {
		list[i] = admin.Grant{
			ID: g.ID, User: g.UserName, UserID: g.Subject, Client: g.ClientName, ClientID: g.ClientID, Scope: g.Scope,
			Created: g.CreatedAt, LastUsed: g.LastUsedAt, Expires: g.ExpiresAt,
		}
	}
	return list
}

// RevokeGrants implements admin.Operator. The error is an *admin.Error, and nothing was
// revoked, if there is none of an id.
func (o *Operator) RevokeGrants(ctx context.Context, ids []string) (admin.Revoked, error) {
	all, err := o.cfg.Store.Grants(ctx)
	if err != nil {
		return admin.Revoked{}, err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(g store.GrantUse) bool { return g.ID == id }) {
			return admin.Revoked{}, &admin.Error{Text: fmt.Sprintf("there is no grant %q; fjmcpctl grants list shows all", id), NotFound: true}
		}
	}
	ended, err := o.cfg.Store.RevokeGrants(ctx, ids)
	if err != nil {
		return admin.Revoked{}, fmt.Errorf("cannot revoke grants: %w", err)
	}
	ctx = context.WithoutCancel(ctx) // whoever asked for it may leave
	o.grantEvents(ctx, ended, "operator")
	var sessions sync.WaitGroup
	for _, g := range ended {
		sessions.Go(func() { o.cfg.Revoked(ctx, g.ID) })
	}
	sessions.Wait()
	return admin.Revoked{Revoked: grantsOf(ended)}, nil
}

// grantEvents audits grants that have ended.
func (o *Operator) grantEvents(ctx context.Context, ended []store.GrantUse, why string) {
	for _, g := range ended {
		o.cfg.Audit.Event(ctx, audit.Event{
			Kind: audit.GrantRevoked, User: g.UserName, UserID: g.Subject, Client: g.ClientName, ClientID: model.ShortID(g.ClientID),
			Grant: g.ID, ReadOnly: audit.YesNo(model.ReadOnly(g.Scope)), Outcome: why,
		})
	}
}
