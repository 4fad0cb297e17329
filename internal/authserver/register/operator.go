package register

import (
	"context"
	"errors"
	"fmt"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// AddClient adds a client of the operator's. An *admin.Error says what is wrong
// with it.
func (g *Registry) AddClient(ctx context.Context, n admin.NewClient) (admin.AddedClient, error) {
	reg := oauth.Registration{ClientName: n.Name, RedirectURIs: n.RedirectURIs, TokenEndpointAuthMethod: oauth.AuthBasic, GrantTypes: oauth.GrantTypes()}
	if n.Public {
		reg.TokenEndpointAuthMethod = oauth.AuthNone
	}
	if err := checkNew(n, &reg); err != nil {
		return admin.AddedClient{}, err
	}
	client, secret, _ := newClient(reg, g.cfg.Now())
	client.Kind, client.Introspect, client.RegistrationHash = model.ClientOperator, n.Introspect, nil
	if err := g.cfg.Store.CreateClient(ctx, client); err != nil {
		return admin.AddedClient{}, fmt.Errorf("cannot store the client: %w", err)
	}
	g.event(ctx, audit.ClientRegistered, client, "by the operator")
	return admin.AddedClient{ID: client.ID, Secret: secret}, nil
}

func checkNew(n admin.NewClient, reg *oauth.Registration) error {
	if reg.ClientName = oauth.CleanName(n.Name); reg.ClientName == "" {
		return &admin.Error{Text: "the client needs a name"}
	}
	if n.Introspect && n.Public {
		return &admin.Error{Text: "a client that introspects tokens needs a secret; it cannot be public"}
	}
	if len(n.RedirectURIs) == 0 && n.Introspect {
		return nil // it only asks about tokens
	}
	if err := reg.CheckRedirects(); err != nil {
		return &admin.Error{Text: err.Description}
	}
	return nil
}

// ListClients lists all clients, the oldest first.
func (g *Registry) ListClients(ctx context.Context) ([]admin.Client, error) {
	all, err := g.cfg.Store.Clients(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]admin.Client, len(all))
	for i, c := range all {
		list[i] = admin.Client{
			ID: c.ID, Name: oauth.ClientName(c.Client), Kind: string(c.Kind), AuthMethod: c.AuthMethod,
			RedirectURIs: c.RedirectURIs, Introspect: c.Introspect, Grants: c.Grants, Created: c.CreatedAt,
		}
	}
	return list, nil
}

// RemoveClient removes any client with its grants and sessions.
func (g *Registry) RemoveClient(ctx context.Context, id string) error {
	client, err := g.cfg.Store.Client(ctx, id)
	if err == nil {
		err = g.remove(ctx, client, "by the operator")
	}
	if errors.Is(err, model.ErrNotFound) {
		return &admin.Error{Text: fmt.Sprintf("there is no client %q; fjmcpctl clients list shows all", id), NotFound: true}
	}
	return err
}
