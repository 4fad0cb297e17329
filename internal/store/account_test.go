package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestConnections(t *testing.T) { teststore.Both(t, testConnections) }

func testConnections(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000).UTC()
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	ctx := t.Context()
	start := now
	first := teststore.LogIn(t, s, "alice", now)
	teststore.LogIn(t, s, "bob", now)
	now = now.Add(time.Hour / 2)
	second := teststore.LogIn(t, s, "alice", now)
	newSession(t, s, first)

	list, err := s.Connections(ctx, first.User.ID)
	if err != nil || len(list) != 2 || list[0].ClientID != second.Client.ID || list[1].ClientID != first.Client.ID {
		t.Fatalf("got %+v, %v", list, err)
	}
	if c := list[1]; c.Sessions != 1 || c.ReadOnly() || !c.FirstUsedAt.Equal(start) || !c.LastUsedAt.Equal(start) || c.RedirectURI != "" {
		t.Errorf("got %+v", c)
	}

	// The use of a session outlives it.
	session := newSession(t, s, first)
	now = now.Add(time.Minute)
	must(t, s.TouchSession(ctx, session.ID, now))
	must(t, s.DeleteSession(ctx, session.ID))
	list, err = s.Connections(ctx, first.User.ID)
	if err != nil || list[0].ClientID != first.Client.ID || !list[0].LastUsedAt.Equal(now) {
		t.Errorf("after use: %+v, %v", list, err)
	}

	now = start.Add(24*time.Hour + time.Minute) // the first login's refresh token has run out
	list, err = s.Connections(ctx, first.User.ID)
	if err != nil || len(list) != 1 || list[0].ClientID != second.Client.ID {
		t.Errorf("after expiry: %+v, %v", list, err)
	}
}

// Two logins of one client are one connection, which may write if one may.
func TestConnectionOfSeveralLogins(t *testing.T) { teststore.Both(t, testConnectionOfSeveralLogins) }

func testConnectionOfSeveralLogins(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	l := teststore.LogIn(t, s, "alice", now)
	for i, scope := range []string{model.ScopeRead, model.ScopeRead} {
		again(t, s, l, scope, now.Add(time.Duration(i+1)*time.Second))
	}
	list, err := s.Connections(t.Context(), l.User.ID)
	if err != nil || len(list) != 1 || list[0].ReadOnly() || list[0].RedirectURI != "http://127.0.0.1:7/cb" {
		t.Fatalf("got %+v, %v", list, err)
	}
	must(t, l.Revoke(t.Context(), s))
	if list, err = s.Connections(t.Context(), l.User.ID); err != nil || len(list) != 1 || !list[0].ReadOnly() {
		t.Fatalf("got %+v, %v", list, err)
	}
}

// again redeems a further grant of a login's user and client.
func again(t *testing.T, s *store.Store, l teststore.Login, scope string, at time.Time) {
	t.Helper()
	code := model.NewToken(model.PrefixCode)
	g := model.Grant{ID: model.NewID(), UserID: l.User.ID, ClientID: l.Client.ID, Scope: scope, CreatedAt: at}
	must(t, teststore.Grant(t.Context(), s, g, store.Code{Hash: model.Hash(code), RedirectURI: "http://127.0.0.1:7/cb", ExpiresAt: at.Add(time.Minute)}))
	_, _, err := s.RedeemCode(t.Context(), code, l.Client, teststore.Pair(at))
	must(t, err)
}

func TestDisconnect(t *testing.T) { teststore.Both(t, testDisconnect) }

func testDisconnect(t *testing.T) {
	s := teststore.Open(t, teststore.Path(t), nil)
	ctx, now := t.Context(), time.Now()
	first, second := teststore.LogIn(t, s, "alice", now), teststore.LogIn(t, s, "alice", now)
	bob := teststore.LogIn(t, s, "bob", now)
	disconnect := func(client string, want int, unused bool) {
		t.Helper()
		grants, err := s.Disconnect(ctx, first.User.ID, client)
		if err != nil || len(grants) != want {
			t.Fatalf("got %+v, %v, want %d grants", grants, err, want)
		}
		if got, err := s.DropUnusedForgejoTokens(ctx, first.User.ID); err != nil || got != unused {
			t.Fatalf("unused: got %t, %v", got, err)
		}
	}
	disconnect(bob.Client.ID, 0, false)
	disconnect(first.Client.ID, 1, false)
	if _, err := s.ForgejoTokens(ctx, first.User.ID); err != nil {
		t.Fatalf("the token set is gone with a client that needs it: %v", err)
	}
	if _, err := s.Access(ctx, model.Hash(first.Pair.Access)); !errors.Is(err, model.ErrRevoked) {
		t.Errorf("the disconnected client's token: %v", err)
	}
	if _, err := s.Access(ctx, model.Hash(second.Pair.Access)); err != nil {
		t.Errorf("the other client's token: %v", err)
	}
	disconnect("", 1, true)
	disconnect("", 0, true)
	if _, err := s.ForgejoTokens(ctx, first.User.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the token set after the last: %v", err)
	}
	if _, err := s.Access(ctx, model.Hash(bob.Pair.Access)); err != nil {
		t.Errorf("another user's token: %v", err)
	}
}

func TestAccountSession(t *testing.T) { teststore.Both(t, testAccountSession) }

func testAccountSession(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	user := teststore.LogIn(t, s, "alice", now).User
	hash := model.Hash("cookie")
	create := func() {
		must(t, s.CreateLogin(t.Context(), store.Login{StateHash: hash, BrowserHash: hash, ExpiresAt: now.Add(time.Hour)}))
		must(t, s.FinishAccountLogin(t.Context(), hash, store.AccountSession{
			Hash: hash, UserID: user.ID, IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(3 * time.Hour),
		}))
	}
	use := func(ctx context.Context, want error) {
		t.Helper()
		got, err := s.UseAccountSession(ctx, hash, time.Hour)
		if !errors.Is(err, want) || err == nil && got != user {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	use(t.Context(), model.ErrNotFound)
	create()
	for range 3 { // each use puts off the idle end, not the last
		use(t.Context(), nil)
		now = now.Add(59 * time.Minute)
	}
	use(t.Context(), nil)
	now = now.Add(5 * time.Minute)
	use(t.Context(), model.ErrExpired)
	must(t, s.Collect(t.Context()))
	use(t.Context(), model.ErrNotFound)

	create()
	now = now.Add(time.Hour)
	use(t.Context(), model.ErrExpired)
	must(t, s.DeleteAccountSession(t.Context(), hash))
	use(t.Context(), model.ErrNotFound)
}
