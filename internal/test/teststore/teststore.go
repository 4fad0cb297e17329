// Package teststore opens real stores for tests.
package teststore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/test/testpostgres"
)

// Both runs a test twice, on SQLite and on PostgreSQL: Path gives each its own database.
// The package's TestMain calls testpostgres.Main.
func Both(t *testing.T, test func(t *testing.T)) {
	t.Run("sqlite", test)
	t.Run("postgres", test)
}

// BenchmarkBoth is Both for benchmarks.
func BenchmarkBoth(b *testing.B, benchmark func(b *testing.B)) {
	b.Run("sqlite", benchmark)
	b.Run("postgres", benchmark)
}

// IsFile reports whether the place that Path returned is SQLite's file.
func IsFile(place string) bool { return !strings.HasPrefix(place, "postgres://") }

// At are options of a store at a place that Path returned.
func At(place string) store.Options {
	if IsFile(place) {
		return store.Options{Path: place}
	}
	return store.Options{DSN: place}
}

// Copy returns the place of a copy of the database, which no store may have open.
func Copy(t testing.TB, place string) string {
	t.Helper()
	if !IsFile(place) {
		return testpostgres.Database(t, place)
	}
	copied := filepath.Join(t.TempDir(), "fjmcp.db")
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(place + suffix)
		if err == nil {
			err = os.WriteFile(copied+suffix, text, 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return copied
}

var template struct {
	sync.Mutex
	place string
}

// filled is a database that has the tables and nothing in them, which is copied faster than
// made.
func filled(t testing.TB) string {
	t.Helper()
	template.Lock()
	defer template.Unlock()
	if template.place == "" {
		place := testpostgres.Database(t, "")
		o := At(place)
		o.Keys = Keys(t)
		s, err := store.Open(context.Background(), o)
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		testpostgres.Exec(t, place, "DELETE FROM canary", "VACUUM FULL canary")
		template.place = place
	}
	return template.place
}

// Path returns the place of a new database: the path of a file; or, in a test that Both
// runs on PostgreSQL, a connection string.
func Path(t testing.TB) string {
	t.Helper()
	if slices.Contains(strings.Split(t.Name(), "/"), "postgres") {
		return testpostgres.Database(t, filled(t))
	}
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
	o := At(path)
	o.Keys, o.Now = Keys(t), now
	s, err := store.Open(t.Context(), o)
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
