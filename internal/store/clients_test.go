package store_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestEveryFieldOfAClientIsKept(t *testing.T) { teststore.Both(t, testEveryFieldOfAClientIsKept) }

func testEveryFieldOfAClientIsKept(t *testing.T) {
	s := teststore.Open(t, teststore.Path(t), nil)
	want := model.Client{
		ID: "https://app.example/client.json", Kind: model.ClientDocument, Name: "App", SecretHash: []byte("hash"), AuthMethod: "private_key_jwt",
		RedirectURIs: []string{"https://app.example/cb"}, GrantTypes: []string{"refresh_token"},
		CreatedAt: time.UnixMilli(1_800_000_000_000).UTC(), JWKS: `{"keys":[]}`, JWKSURI: "https://app.example/jwks", SigningAlg: "ES256",
		AllowNone: true, Introspect: true,
	}
	if err := s.CreateClient(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Client(t.Context(), want.ID); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	want.Name, want.RedirectURIs, want.AllowNone = "New", []string{"https://app.example/new"}, false
	if err := s.KeepClient(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Client(t.Context(), want.ID); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("kept: %+v, %v", got, err)
	}
}

func TestRemoveClientEndsItsGrants(t *testing.T) { teststore.Both(t, testRemoveClientEndsItsGrants) }

func testRemoveClientEndsItsGrants(t *testing.T) {
	now := time.Now()
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	alice, bob := teststore.LogIn(t, s, "alice", now), teststore.LogIn(t, s, "bob", now)
	if all, err := s.Clients(t.Context()); err != nil || len(all) != 2 || all[0].Grants != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	_, ended, err := s.RemoveClient(t.Context(), alice.Client.ID)
	if err != nil || !reflect.DeepEqual(ended, []string{alice.Grant.ID}) {
		t.Fatalf("%v, %v", ended, err)
	}
	if _, err := s.Client(t.Context(), alice.Client.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the client: %v", err)
	}
	if _, err := s.Access(t.Context(), model.Hash(alice.Pair.Access)); !errors.Is(err, model.ErrRevoked) {
		t.Errorf("its token: %v", err)
	}
	if _, err := s.Access(t.Context(), model.Hash(bob.Pair.Access)); err != nil {
		t.Errorf("another client's token: %v", err)
	}
	if _, _, err := s.RemoveClient(t.Context(), alice.Client.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("deleting it twice: %v", err)
	}
	if err := s.KeepClient(t.Context(), alice.Client); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client(t.Context(), alice.Client.ID); err != nil {
		t.Errorf("kept again: %v", err)
	}
}

func TestCollectKeepsTheOperatorsClients(t *testing.T) {
	teststore.Both(t, testCollectKeepsTheOperatorsClients)
}

func testCollectKeepsTheOperatorsClients(t *testing.T) {
	now := time.Now()
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	for _, kind := range []model.ClientKind{model.ClientRegistered, model.ClientDocument, model.ClientOperator} {
		if err := s.CreateClient(t.Context(), model.Client{ID: string(kind), Kind: kind, AuthMethod: "none", CreatedAt: now.Add(-48 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := s.Clients(t.Context())
	if err != nil || len(all) != 1 || all[0].Kind != model.ClientOperator {
		t.Fatalf("%+v, %v", all, err)
	}
	if _, _, err := s.RemoveClient(t.Context(), all[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateClient(t.Context(), all[0].Client); err != nil {
		t.Errorf("a deleted client was not collected: %v", err)
	}
}

func TestUseAssertionOnce(t *testing.T) { teststore.Both(t, testUseAssertionOnce) }

func testUseAssertionOnce(t *testing.T) {
	now := time.Now()
	path := teststore.Path(t)
	a := teststore.Open(t, path, func() time.Time { return now })
	b := teststore.Open(t, path, func() time.Time { return now })
	use := func(want bool) {
		t.Helper()
		if first, err := b.UseAssertion(t.Context(), []byte("key"), now.Add(time.Minute)); err != nil || first != want {
			t.Errorf("first %v, %v", first, err)
		}
	}
	if first, err := a.UseAssertion(t.Context(), []byte("key"), now.Add(time.Minute)); err != nil || !first {
		t.Fatalf("%v, %v", first, err)
	}
	use(false)
	now = now.Add(2 * time.Minute)
	if err := a.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	use(true)
}
