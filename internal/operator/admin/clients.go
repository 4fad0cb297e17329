package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Client is one OAuth client as the operator sees it.
type Client struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Kind         string    `json:"kind"` // registered, document or operator
	AuthMethod   string    `json:"auth_method"`
	RedirectURIs []string  `json:"redirect_uris"`
	Introspect   bool      `json:"introspect"`
	Grants       int       `json:"grants"` // logins that stand
	Created      time.Time `json:"created"`
}

// NewClient is what the operator says about a client to add.
type NewClient struct {
	Name         string   `json:"name"`
	RedirectURIs []string `json:"redirect_uris"`
	Public       bool     `json:"public"`     // without a secret
	Introspect   bool     `json:"introspect"` // may ask about tokens (RFC 7662)
}

// AddedClient is what a client needs to be told. The secret, empty for a public
// client, cannot be read again. It prints redacted.
type AddedClient struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret,omitempty"`
}

// String hides the secret.
func (a AddedClient) String() string { return "AddedClient(" + a.ID + ", redacted)" }

// GoString hides the secret.
func (a AddedClient) GoString() string { return a.String() }

// Clients is what stands behind the clients commands. Errors that the operator
// can mend are *Error.
type Clients interface {
	AddClient(ctx context.Context, n NewClient) (AddedClient, error)
	ListClients(ctx context.Context) ([]Client, error)
	RemoveClient(ctx context.Context, id string) error
}

func (h *handler) addClient(r *http.Request) (any, error) {
	var n NewClient
	if err := read(r, &n); err != nil {
		return nil, err
	}
	return h.cfg.Clients.AddClient(r.Context(), n)
}

func (h *handler) listClients(r *http.Request) (any, error) {
	return h.cfg.Clients.ListClients(r.Context())
}

func (h *handler) removeClient(r *http.Request) (any, error) {
	return struct{}{}, h.cfg.Clients.RemoveClient(r.Context(), r.URL.Query().Get("id"))
}

// AddClient adds a client.
func (c *Caller) AddClient(ctx context.Context, n NewClient) (added AddedClient, err error) {
	err = c.call(ctx, http.MethodPost, "/clients", n, &added)
	return added, err
}

// ListClients lists all clients, the oldest first.
func (c *Caller) ListClients(ctx context.Context) (list []Client, err error) {
	err = c.call(ctx, http.MethodGet, "/clients", nil, &list)
	return list, err
}

// RemoveClient removes a client with its grants and sessions.
func (c *Caller) RemoveClient(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/clients?"+url.Values{"id": {id}}.Encode(), nil, nil)
}
