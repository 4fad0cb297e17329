// Package clientauth finds OAuth clients, wherever they are described, and
// authenticates them: not at all, by their secret (RFC 6749 §2.3.1), or by an
// assertion signed with their private key (RFC 7521 §4.2, RFC 7523 §3).
//
// A client is in the store, or its id is the URL of a client ID metadata
// document. The document is read when a user is to agree to the client; what it
// said is then stored, and the token endpoint goes by that, so that no refresh
// depends on a stranger's web server. Only keys are read anew there.
package clientauth

import (
	"context"
	"errors"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// Config is what Clients need.
type Config struct {
	Store     *store.Store
	Documents *clientmeta.Fetcher // nil: nothing is fetched on behalf of clients
	Audiences []string            // what an assertion may be addressed to: the issuer and the token endpoint's URLs
	Now       func() time.Time
}

// Clients are the clients of this server. It is safe for concurrent use.
type Clients struct{ cfg Config }

// New returns Clients.
func New(cfg Config) *Clients { return &Clients{cfg} }

// Find returns a client that wants a user's consent. For one with a metadata
// document that is what the document says now. The error is model.ErrNotFound,
// a *clientmeta.Error, the context's, or a failure of the store.
func (c *Clients) Find(ctx context.Context, id string) (model.Client, error) {
	if c.cfg.Documents != nil && oauth.IsDocumentID(id) {
		return c.cfg.Documents.Client(ctx, id)
	}
	client, err := c.cfg.Store.Client(ctx, id)
	if err == nil && client.Kind == model.ClientDocument {
		return model.Client{}, model.ErrNotFound // documents have been switched off
	}
	return client, err
}

// Keep stores what the document says of a client that a user has agreed to. One that
// registered itself is stored when he has logged in.
func (c *Clients) Keep(ctx context.Context, client model.Client) error {
	if client.Kind != model.ClientDocument {
		return nil
	}
	client.CreatedAt = c.cfg.Now()
	return c.cfg.Store.KeepClient(ctx, client)
}

// Authenticate returns the client behind credentials. Where unagreed, if set, says so of an
// id, no user may have agreed to that client yet, and it is found as by Find. The error is
// an *oauth.Error, the context's, or a failure of the store.
func (c *Clients) Authenticate(ctx context.Context, given oauth.Credentials, unagreed func(id string) bool) (model.Client, error) {
	find := finder(c.stored)
	if unagreed != nil {
		find = func(ctx context.Context, id string) (model.Client, error) {
			if unagreed(id) {
				return c.described(ctx, id)
			}
			return c.stored(ctx, id)
		}
	}
	if given.Assertion != "" {
		return c.byAssertion(ctx, given, find)
	}
	client, err := find(ctx, given.ID)
	if err != nil {
		return client, err
	}
	switch {
	case client.AuthMethod == oauth.AuthPrivateKey && given.Secret != "":
		return client, oauth.Errorf(oauth.InvalidClient, "this client authenticates with %s, not with a secret", oauth.AuthPrivateKey)
	case client.AuthMethod == oauth.AuthPrivateKey && !client.AllowNone:
		return client, oauth.Errorf(oauth.InvalidClient, "this client must authenticate with %s", oauth.AuthPrivateKey)
	case client.AuthMethod == oauth.AuthNone && given.Secret != "":
		return client, oauth.Errorf(oauth.InvalidClient, "this client was registered without a secret")
	case !oauth.HasSecret(client.AuthMethod):
		return client, nil
	}
	// Whichever way of sending it was registered: Go clients try both.
	if client.SecretHash, err = c.cfg.Store.SecretHash(ctx, client, given.Secret); errors.Is(err, model.ErrNotFound) {
		err = oauth.Errorf(oauth.InvalidClient, "the client secret is wrong")
	}
	return client, err
}

var errUnknown = oauth.Errorf(oauth.InvalidClient, "the client is not registered; register again")

// stored returns a client as the store or its id tells.
func (c *Clients) stored(ctx context.Context, id string) (model.Client, error) {
	client, err := c.cfg.Store.Client(ctx, id)
	if errors.Is(err, model.ErrNotFound) {
		return client, errUnknown
	}
	return client, err
}

// described is Find with what to tell the client.
func (c *Clients) described(ctx context.Context, id string) (model.Client, error) {
	client, err := c.Find(ctx, id)
	var failure *clientmeta.Error
	switch {
	case errors.As(err, &failure):
		// Not invalid_client, on which clients throw away what they have.
		return client, oauth.Errorf(oauth.InvalidRequest, "the document that client_id is the address of cannot be used: %s", failure.Reason)
	case errors.Is(err, model.ErrNotFound):
		return client, errUnknown
	}
	return client, err
}
