package store_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

var said = model.Client{Name: "Claude", AuthMethod: "client_secret_post", RedirectURIs: []string{"https://claude.ai/api/mcp/auth_callback"}}

func register(t *testing.T, s *store.Store) string {
	t.Helper()
	id, err := s.ClientID(t.Context(), said)
	must(t, err)
	return id
}

// logInTo has a user log in for a client, and returns whether it is the first one, the
// grant's code, and its id.
func logInTo(t *testing.T, s *store.Store, client string, now time.Time) (first bool, code, grant string) {
	t.Helper()
	user, err := s.UpsertUser(t.Context(), "https://forge.example", "sub-alice", "alice")
	must(t, err)
	must(t, s.PutForgejoTokens(t.Context(), user.ID, model.ForgejoTokens{AccessToken: "a", ExpiresAt: now.Add(time.Hour)}))
	state := []byte(model.NewToken(""))
	must(t, s.CreateLogin(t.Context(), store.Login{StateHash: state, BrowserHash: []byte("b"), ClientID: client, ExpiresAt: now.Add(time.Minute)}))
	code, grant = model.NewToken(model.PrefixCode), model.NewID()
	first, err = s.FinishLogin(t.Context(), state, model.Grant{ID: grant, UserID: user.ID, ClientID: client, CreatedAt: now},
		store.Code{Hash: model.Hash(code), ExpiresAt: now.Add(time.Minute)})
	must(t, err)
	return first, code, grant
}

func rows(t *testing.T, s *store.Store) []store.ClientUse {
	t.Helper()
	all, err := s.Clients(t.Context())
	must(t, err)
	return all
}

// A client that registers itself has no row until a user has logged in for it.
func TestTheFirstLoginMakesTheRow(t *testing.T) { teststore.Both(t, testTheFirstLoginMakesTheRow) }

func testTheFirstLoginMakesTheRow(t *testing.T) {
	s, c := open(t)
	id := register(t, s)
	want := said
	want.ID, want.Kind = id, model.ClientRegistered
	if got, err := s.Client(t.Context(), id); err != nil || !reflect.DeepEqual(got, want) || len(rows(t, s)) != 0 {
		t.Fatalf("%+v, %v, %d rows", got, err, len(rows(t, s)))
	}
	if first, _, _ := logInTo(t, s, id, c.Now()); !first {
		t.Error("the first login is not the first")
	}
	c.Add(time.Hour)
	if again := register(t, s); again != id {
		t.Errorf("registered again it is %s", again)
	}
	if first, _, _ := logInTo(t, s, id, c.Now()); first {
		t.Error("the second login is the first")
	}
	want.CreatedAt = c.Now().Add(-time.Hour)
	if got, err := s.Client(t.Context(), id); err != nil || !reflect.DeepEqual(got, want) || len(rows(t, s)) != 1 {
		t.Errorf("%+v, %v, %d rows", got, err, len(rows(t, s)))
	}
}

// A broker with another key does not know the id, but the row.
func TestAnotherKeyKnowsTheRow(t *testing.T) { teststore.Both(t, testAnotherKeyKnowsTheRow) }

func testAnotherKeyKnowsTheRow(t *testing.T) {
	c, path := newClock(), teststore.Path(t)
	before := openAt(t, path, "a", c.Now)
	after := rekeyed(t, path, c.Now)
	id := register(t, before)
	if _, err := after.Client(t.Context(), id); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("without a login: %v", err)
	}
	logInTo(t, before, id, c.Now())
	if got, err := after.Client(t.Context(), id); err != nil || !reflect.DeepEqual(got.RedirectURIs, said.RedirectURIs) {
		t.Errorf("%+v, %v", got, err)
	}
	if next := register(t, after); next == id {
		t.Error("another key gives the same id")
	}
}

// An id that the operator has removed stays dead, whoever shows it, also when nothing else
// is left of the client. Registered again, the same has another id.
func TestRemovedIDsStayDead(t *testing.T) { teststore.Both(t, testRemovedIDsStayDead) }

func testRemovedIDsStayDead(t *testing.T) {
	s, c := open(t)
	var dead []string
	for range 3 {
		id := register(t, s)
		_, _, grant := logInTo(t, s, id, c.Now())
		for _, wrong := range []string{"", id[:20], id[:31], id + "x", "unknown"} {
			_, _, err := s.RemoveClient(t.Context(), wrong)
			wantErr(t, err, model.ErrNotFound)
		}
		removed, grants, err := s.RemoveClient(t.Context(), model.ShortID(id))
		if err != nil || removed.ID != id || !reflect.DeepEqual(grants, []string{grant}) {
			t.Fatalf("%+v, %v, %v", removed, grants, err)
		}
		c.Add(200 * 24 * time.Hour)
		must(t, s.Collect(t.Context()))
		_, err = s.Grant(t.Context(), grant)
		wantErr(t, err, model.ErrNotFound)
		dead = append(dead, id)
		for _, id := range dead {
			_, err := s.Client(t.Context(), id)
			wantErr(t, err, model.ErrNotFound)
			_, _, err = s.RemoveClient(t.Context(), id)
			wantErr(t, err, model.ErrNotFound)
		}
		if again := register(t, s); slices.Contains(dead, again) || again != register(t, s) {
			t.Errorf("registered again it is %s", again)
		}
	}
	if n := len(rows(t, s)); n != 0 {
		t.Errorf("%d clients are left", n)
	}
}

// Equal registrations share an id. A login is its own secret's all the same, also when
// the key that made the secret is gone.
func TestLoginsAreBoundToTheirSecret(t *testing.T) {
	teststore.Both(t, testLoginsAreBoundToTheirSecret)
}

func testLoginsAreBoundToTheirSecret(t *testing.T) {
	c, path := newClock(), teststore.Path(t)
	s := openAt(t, path, "a", c.Now)
	later := rekeyed(t, path, c.Now)
	id := register(t, s)
	mine, others := s.ClientSecret(id), s.ClientSecret(id)
	_, code, _ := logInTo(t, s, id, c.Now())
	with := func(s *store.Store, secret string) model.Client {
		client, err := s.Client(t.Context(), id)
		must(t, err)
		client.SecretHash, err = s.SecretHash(t.Context(), client, secret)
		must(t, err)
		return client
	}
	_, pair, err := s.RedeemCode(t.Context(), code, with(s, mine), teststore.Pair(c.Now()))
	must(t, err)
	_, _, err = s.Rotate(t.Context(), pair.Refresh, with(s, others), teststore.Pair(c.Now()), store.Asked{})
	wantErr(t, err, model.ErrNotFound)
	_, _, err = s.Rotate(t.Context(), pair.Refresh, model.Client{ID: id}, teststore.Pair(c.Now()), store.Asked{})
	wantErr(t, err, model.ErrNotFound)
	_, next, err := later.Rotate(t.Context(), pair.Refresh, with(later, mine), teststore.Pair(c.Now()), store.Asked{})
	must(t, err)
	for _, secret := range []string{others, "", "fjs_", s.ClientSecret(id), mine + "x"} {
		_, err = later.SecretHash(t.Context(), model.Client{ID: id}, secret)
		wantErr(t, err, model.ErrNotFound)
	}
	if files := onDisk(t, path); bytes.Contains(files, []byte(mine)) || !bytes.Contains(files, model.Hash(mine)) || bytes.Contains(files, []byte(next.Refresh)) {
		t.Error("a secret stands in the files, or not even its hash")
	}
}

// Clients of a database that version 0.2.0 wrote go on, with their secrets and logins.
// Of SQLite: no version before wrote to PostgreSQL.
func TestOldClientsGoOn(t *testing.T) {
	path := fixture(t, "0.2.0.sql")
	db, err := openSQL(path)
	must(t, err)
	// Names that were stored before they were held against the rules of today.
	for id, name := range map[string]string{"an invisible one": "\u3164\u2800", "a hidden part": "Name\U000e0041"} {
		_, err := db.ExecContext(t.Context(), `INSERT INTO clients SELECT ? AS id, ? AS name, secret_hash, auth_method, redirect_uris, grant_types, uri,
			created_at, kind, jwks, jwks_uri, signing_alg, allow_none, introspect, NULL, deleted_at FROM clients WHERE name = 'Public'`, id, name)
		must(t, err)
	}
	must(t, db.Close())

	c := newClock()
	c.Add(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC).Sub(c.Now()))
	s := openAt(t, path, "k", c.Now)
	for id, want := range map[string]string{"an invisible one": "An application at Public.example", "a hidden part": "Name"} {
		if client, err := s.Client(t.Context(), id); err != nil || client.Name != want {
			t.Errorf("%s: %+v, %v", id, client, err)
		}
	}
	for id, tc := range map[string]struct{ name, secret string }{
		"publicclientpublicclientpu":      {"Public", ""},
		"secretclientsecretclientse":      {"Secret", "fjs_old"},
		"https://app.example/client.json": {"Document", ""},
		"operatorclientoperatorclie":      {"Operator", "fjs_operator"},
	} {
		client, err := s.Client(t.Context(), id)
		if err != nil || client.Name != tc.name || !reflect.DeepEqual(client.RedirectURIs, []string{"https://" + tc.name + ".example/cb"}) || client.CreatedAt.Month() != time.November {
			t.Fatalf("%+v, %v", client, err)
		}
		if _, err = s.SecretHash(t.Context(), client, "fjs_wrong"); err == nil {
			t.Errorf("%s: any secret is taken", tc.name)
		}
		if tc.secret != "" {
			client.SecretHash, err = s.SecretHash(t.Context(), client, tc.secret)
			must(t, err)
		}
		first, code, _ := logInTo(t, s, id, c.Now())
		_, _, err = s.RedeemCode(t.Context(), code, client, teststore.Pair(c.Now()))
		if err != nil || first {
			t.Errorf("%s: a new login: %v, the first: %v", tc.name, err, first)
		}
		_, _, err = s.Rotate(t.Context(), "refresh of "+tc.name, client, teststore.Pair(c.Now()), store.Asked{})
		must(t, err)
	}
	// Who registered within a day may still be agreed to; who did not come goes as before,
	// and so does what was removed, whose id can never come back.
	logInTo(t, s, "unusedclientunusedclientun", c.Now())
	_, err = s.Client(t.Context(), "deletedclientdeletedclient")
	wantErr(t, err, model.ErrNotFound)
	c.Add(48 * time.Hour)
	must(t, s.Collect(t.Context()))
	must(t, s.CreateClient(t.Context(), model.Client{ID: "deletedclientdeletedclient"})) // its row has gone
}

// Of two users whom an earlier version knew by one name, it is the one's who logged in last.
// Of SQLite: no version before wrote to PostgreSQL.
func TestOldNamesAreOneUsers(t *testing.T) {
	path := fixture(t, "0.2.0.sql")
	sqlAt(t, path, `INSERT INTO users VALUES ('aaaa', 'https://forge.example', '7', 'Alice'), ('zzzz', 'https://forge.example', '8', 'alice'),
			('else', 'https://other.example', '9', 'alice')`)
	s := openWith(t, path, "k")
	for id, want := range map[string]string{"xtpn4ufqs5kb3b2mxnpqkobs5g": "alice", "aaaa": "", "zzzz": "", "else": "alice"} {
		if got, err := s.User(t.Context(), id); err != nil || got.Name != want {
			t.Errorf("%s: %+v, %v; want %q", id, got, err, want)
		}
	}
}
