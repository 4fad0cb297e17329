package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// AddClient adds a client of the operator's. An *admin.Error says what is wrong
// with it.
func (o *Operator) AddClient(ctx context.Context, n admin.NewClient) (admin.AddedClient, error) {
	if err := checkNew(&n, o.cfg.Settings); err != nil {
		return admin.AddedClient{}, err
	}
	client := model.Client{
		ID: model.NewID(), Kind: model.ClientOperator, Name: n.Name, AuthMethod: oauth.AuthNone,
		RedirectURIs: n.RedirectURIs, Introspect: n.Introspect, CreatedAt: o.cfg.Now(),
	}
	if n.Device {
		client.GrantTypes = []string{oauth.GrantDevice}
		if len(n.RedirectURIs) > 0 {
			client.GrantTypes = append(client.GrantTypes, oauth.GrantCode)
		}
	}
	added := admin.AddedClient{ID: client.ID}
	if !n.Public {
		added.Secret = model.NewToken(model.PrefixClientSecret)
		client.AuthMethod, client.SecretHash = oauth.AuthBasic, model.Hash(added.Secret)
	}
	if err := o.cfg.Store.CreateClient(ctx, client); err != nil {
		return admin.AddedClient{}, fmt.Errorf("cannot store the client: %w", err)
	}
	o.event(ctx, audit.ClientRegistered, client)
	return added, nil
}

// checkNew also cleans the name.
func checkNew(n *admin.NewClient, settings *config.Config) error {
	if n.Name = oauth.CleanName(n.Name); n.Name == "" {
		return &admin.Error{Text: "the client needs a name"}
	}
	if n.Introspect && n.Public {
		return &admin.Error{Text: "a client that introspects tokens needs a secret; it cannot be public"}
	}
	if n.Device && !settings.DeviceGrant {
		return &admin.Error{Text: "logins by a code are switched off; set FJMCP_BROKER_DEVICE_GRANT=on and restart fjmcp-broker.service"}
	}
	if len(n.RedirectURIs) == 0 && (n.Introspect || n.Device) {
		return nil // it asks about tokens, or logs in without redirects
	}
	reg := oauth.Registration{ClientName: n.Name, RedirectURIs: n.RedirectURIs}
	if err := reg.CheckRedirects(settings.RedirectSchemes, true); err != nil {
		return &admin.Error{Text: err.Description}
	}
	return nil
}

// ListClients lists all clients, the oldest first.
func (o *Operator) ListClients(ctx context.Context) ([]admin.Client, error) {
	all, err := o.cfg.Store.Clients(ctx)
	if err != nil {
		return nil, err
	}
	running := o.cfg.Sessions.Awake()
	list := make([]admin.Client, len(all))
	for i, client := range all {
		list[i] = admin.Client{
			ID: client.ID, Name: oauth.ClientName(client.Client), Kind: string(client.Kind), AuthMethod: client.AuthMethod,
			RedirectURIs: client.RedirectURIs, Device: oauth.MayUse(client.Client, oauth.GrantDevice), Introspect: client.Introspect, Grants: client.Grants, Created: client.CreatedAt, LastUsed: client.LastUsedAt,
		}
		for _, v := range running { // it has been used later than is stored
			if v.ClientID == client.ID {
				list[i].LastUsed = later(list[i].LastUsed, v.LastUsedAt)
			}
		}
	}
	return list, nil
}

// RemoveClient removes any client with its grants and their sessions.
func (o *Operator) RemoveClient(ctx context.Context, id string) error {
	client, grants, err := o.cfg.Store.RemoveClient(ctx, id)
	if errors.Is(err, model.ErrNotFound) {
		return &admin.Error{Text: fmt.Sprintf("there is no client %q; fjmcpctl clients list shows all", id), NotFound: true}
	}
	if err != nil {
		return err
	}
	for _, grant := range grants {
		o.cfg.Revoked(ctx, grant)
	}
	o.event(ctx, audit.ClientRemoved, client)
	return nil
}

func (o *Operator) event(ctx context.Context, kind audit.Kind, client model.Client) {
	o.cfg.Audit.Event(ctx, audit.Event{
		Kind: kind, Client: oauth.ClientName(client), ClientID: model.ShortID(client.ID), Outcome: "ok", Detail: "by the operator",
	})
}

// RotateKey moves everything to the current key and audits that.
func (o *Operator) RotateKey(ctx context.Context) (admin.Rotation, error) {
	n, err := o.cfg.Store.Reseal(ctx)
	e := audit.Event{
		Kind: audit.KeyRotated, Outcome: "ok",
		Detail: fmt.Sprintf("%d of %d values moved, %d unreadable deleted", n.Moved, n.Values, n.Unreadable),
	}
	if err != nil {
		e.Outcome, e.Failed = "error", true
	}
	o.cfg.Audit.Event(ctx, e)
	return admin.Rotation(n), err
}
