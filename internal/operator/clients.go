package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// ClientsConfig is what Clients are made of. All fields are required.
type ClientsConfig struct {
	Store *store.Store
	Audit *audit.Logger
	Now   func() time.Time
	// Revoked is told of every grant that ends with its client.
	Revoked func(ctx context.Context, grantID string)
}

// Clients implements admin.Clients. It is safe for concurrent use.
type Clients struct{ cfg ClientsConfig }

var _ admin.Clients = (*Clients)(nil)

// NewClients returns the Clients of one broker.
func NewClients(cfg ClientsConfig) *Clients { return &Clients{cfg} }

// AddClient adds a client of the operator's. An *admin.Error says what is wrong
// with it.
func (c *Clients) AddClient(ctx context.Context, n admin.NewClient) (admin.AddedClient, error) {
	if err := checkNew(&n); err != nil {
		return admin.AddedClient{}, err
	}
	client := model.Client{
		ID: model.NewID(), Kind: model.ClientOperator, Name: n.Name, AuthMethod: oauth.AuthNone,
		RedirectURIs: n.RedirectURIs, GrantTypes: oauth.GrantTypes(), Introspect: n.Introspect, CreatedAt: c.cfg.Now(),
	}
	added := admin.AddedClient{ID: client.ID}
	if !n.Public {
		added.Secret = model.NewToken(model.PrefixClientSecret)
		client.AuthMethod, client.SecretHash = oauth.AuthBasic, model.Hash(added.Secret)
	}
	if err := c.cfg.Store.CreateClient(ctx, client); err != nil {
		return admin.AddedClient{}, fmt.Errorf("cannot store the client: %w", err)
	}
	c.event(ctx, audit.ClientRegistered, client)
	return added, nil
}

// checkNew also cleans the name.
func checkNew(n *admin.NewClient) error {
	if n.Name = oauth.CleanName(n.Name); n.Name == "" {
		return &admin.Error{Text: "the client needs a name"}
	}
	if n.Introspect && n.Public {
		return &admin.Error{Text: "a client that introspects tokens needs a secret; it cannot be public"}
	}
	if len(n.RedirectURIs) == 0 && n.Introspect {
		return nil // it only asks about tokens
	}
	reg := oauth.Registration{ClientName: n.Name, RedirectURIs: n.RedirectURIs}
	if err := reg.CheckRedirects(); err != nil {
		return &admin.Error{Text: err.Description}
	}
	return nil
}

// ListClients lists all clients, the oldest first.
func (c *Clients) ListClients(ctx context.Context) ([]admin.Client, error) {
	all, err := c.cfg.Store.Clients(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]admin.Client, len(all))
	for i, client := range all {
		list[i] = admin.Client{
			ID: client.ID, Name: oauth.ClientName(client.Client), Kind: string(client.Kind), AuthMethod: client.AuthMethod,
			RedirectURIs: client.RedirectURIs, Introspect: client.Introspect, Grants: client.Grants, Created: client.CreatedAt,
		}
	}
	return list, nil
}

// RemoveClient removes any client with its grants and their sessions.
func (c *Clients) RemoveClient(ctx context.Context, id string) error {
	client, err := c.cfg.Store.Client(ctx, id)
	var grants []string
	if err == nil {
		grants, err = c.cfg.Store.DeleteClient(ctx, id)
	}
	if errors.Is(err, model.ErrNotFound) {
		return &admin.Error{Text: fmt.Sprintf("there is no client %q; fjmcpctl clients list shows all", id), NotFound: true}
	}
	if err != nil {
		return err
	}
	for _, grant := range grants {
		c.cfg.Revoked(ctx, grant)
	}
	c.event(ctx, audit.ClientRemoved, client)
	return nil
}

func (c *Clients) event(ctx context.Context, kind audit.Kind, client model.Client) {
	c.cfg.Audit.Event(ctx, audit.Event{Kind: kind, Client: oauth.ClientName(client), Outcome: "ok", Detail: client.ID + " by the operator"})
}
