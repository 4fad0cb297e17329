package store_test

import (
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestSummary(t *testing.T) { teststore.Both(t, testSummary) }

func testSummary(t *testing.T) {
	path := teststore.Path(t)
	fill(t, openWith(t, path, "o"), "old")
	lost := fill(t, openWith(t, path, "lo"), "lost")
	s := openWith(t, path, "no")
	gone := fill(t, s, "new")
	must(t, gone.login.Revoke(t.Context(), s))
	_, _, err := s.RemoveClient(t.Context(), gone.login.Client.ID)
	must(t, err)

	got, err := s.Summary(t.Context())
	must(t, err)
	if got.Bytes < 4096 || got.Schema == "" {
		t.Errorf("%+v", got)
	}
	got.Bytes, got.Schema = 0, ""
	// Of each: a token set, a login's verifier and set, a rotated token's successor,
	// which goes with the grant.
	want := store.Summary{Path: s.Path(), Counts: store.Counts{Users: 3, Clients: 2, Grants: 2, Dormant: got.Dormant}, Sum: sealed.Sum{Sealed: 11, Older: 4, Unreadable: 4}}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	must(t, teststore.DropTokens(t.Context(), s, lost.login.User.ID))
	_, err = s.Reseal(t.Context())
	must(t, err)
	got, err = s.Summary(t.Context())
	must(t, err)
	if got.Sealed != 7 || got.Older != 0 || got.Unreadable != 0 {
		t.Errorf("after a rotation: %+v", got)
	}
}

// Logins that have run out are not counted.
func TestSummaryKnowsTheTime(t *testing.T) { teststore.Both(t, testSummaryKnowsTheTime) }

func testSummaryKnowsTheTime(t *testing.T) {
	now := time.Now()
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	teststore.LogIn(t, s, "alice", now)
	now = now.Add(48 * time.Hour)
	if got, err := s.Summary(t.Context()); err != nil || got.Grants != 0 || got.Users != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A user whose tokens the forge has refused is lost for as long as a login of hers stands.
func TestGranted(t *testing.T) { teststore.Both(t, testGranted) }

func testGranted(t *testing.T) {
	now := time.Now()
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	alice, bob := fill(t, s, "alice"), fill(t, s, "bob")
	look := func(lost, sets int) {
		t.Helper()
		got, err := s.Granted(t.Context())
		must(t, err)
		users := 0
		for _, use := range got.Scopes {
			users += use.Users
		}
		if got.Lost != lost || users != sets {
			t.Errorf("%+v; want %d lost, %d sets", got, lost, sets)
		}
	}
	look(0, 2)
	must(t, teststore.DropTokens(t.Context(), s, alice.login.User.ID))
	look(1, 1)
	must(t, alice.login.Revoke(t.Context(), s))
	look(0, 1)
	must(t, teststore.DropTokens(t.Context(), s, bob.login.User.ID))
	look(1, 0)
	now = now.Add(365 * 24 * time.Hour)
	look(0, 0)
}
