// Package teststore opens real stores for tests.
package teststore

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Path returns the path of a new database.
func Path(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "fjmcp.db")
}

// Keys are what Open opens stores with.
func Keys(t testing.TB) *seal.Keyring {
	t.Helper()
	keys, err := seal.NewKeyring(bytes.Repeat([]byte("k"), seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Open opens the store at path, as one process would, and closes it at the end
// of the test. now may be nil.
func Open(t testing.TB, path string, now func() time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: path, Keys: Keys(t), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Login is the outcome of one redeemed login.
type Login struct {
	User   model.User
	Client model.Client
	Grant  model.Grant
	Pair   store.Pair // valid for an hour and a day
}

// LogIn registers a client, makes the user named name with a Forgejo token set,
// and redeems a grant between them.
func LogIn(t testing.TB, s *store.Store, name string, now time.Time) Login {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client := model.Client{
		ID: model.NewID(), Name: "test client", AuthMethod: "none",
		RedirectURIs: []string{"http://127.0.0.1/callback"}, CreatedAt: now,
	}
	must(s.CreateClient(ctx, client))
	user, err := s.UpsertUser(ctx, "https://forge.example", "sub-"+name, name)
	must(err)
	must(s.PutForgejoTokens(ctx, user.ID, model.ForgejoTokens{
		AccessToken: "forge-access-" + name, RefreshToken: "forge-refresh-" + name, ExpiresAt: now.Add(time.Hour),
	}))
	code := model.NewToken(model.PrefixCode)
	grant := model.Grant{ID: model.NewID(), UserID: user.ID, ClientID: client.ID, Scope: "forgejo:read forgejo:write", CreatedAt: now}
	must(Grant(ctx, s, grant, store.Code{Hash: model.Hash(code), ExpiresAt: now.Add(time.Minute)}))
	_, pair, err := s.RedeemCode(ctx, code, client, Pair(now))
	must(err)
	return Login{User: user, Client: client, Grant: grant, Pair: pair}
}

// Grant makes a grant and the code that redeems it, by a login that ends in them.
func Grant(ctx context.Context, s *store.Store, g model.Grant, c store.Code) error {
	if err := s.CreateLogin(ctx, store.Login{StateHash: c.Hash, BrowserHash: c.Hash, ClientID: g.ClientID, ExpiresAt: c.ExpiresAt}); err != nil {
		return err
	}
	_, err := s.FinishLogin(ctx, c.Hash, g, c)
	return err
}

// Pair returns a fresh access token, valid for an hour from now, and what the store gives a
// refresh token, valid for a day.
func Pair(now time.Time) store.Pair {
	return store.Pair{Access: model.NewToken(model.PrefixAccess), AccessExpiresAt: now.Add(time.Hour), RefreshExpiresAt: now.Add(24 * time.Hour)}
}

// DropTokens deletes the user's Forgejo token set, also one that s cannot read.
func DropTokens(ctx context.Context, s *store.Store, userID string) error {
	if err := s.PutForgejoTokens(ctx, userID, model.ForgejoTokens{RefreshToken: "dropped"}); err != nil {
		return err
	}
	_, err := s.DropForgejoTokens(ctx, userID, "dropped")
	return err
}

// Revoke ends the login's grant, by its refresh token.
func (l Login) Revoke(ctx context.Context, s *store.Store) error {
	_, _, err := s.RevokeToken(ctx, l.Pair.Refresh, l.Client.ID)
	return err
}
