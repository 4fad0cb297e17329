package store_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// underway is a login of a user at each stage that it can be at.
type underway struct {
	teststore.Login
	s      *store.Store
	begun  []byte // the user is at the forge
	begun2 []byte // likewise, for the account page
	code   string // issued, not redeemed
}

func begin(t *testing.T, s *store.Store, name string, now time.Time) underway {
	t.Helper()
	ctx := t.Context()
	u := underway{Login: teststore.LogIn(t, s, name, now), s: s, begun: model.Hash("begun " + name), begun2: model.Hash("account " + name), code: model.NewToken(model.PrefixCode)}
	for _, state := range [][]byte{u.begun, u.begun2, model.Hash("cookie " + name)} {
		must(t, s.CreateLogin(ctx, store.Login{StateHash: state, BrowserHash: state, ExpiresAt: now.Add(time.Minute)}))
	}
	must(t, s.FinishAccountLogin(ctx, model.Hash("cookie "+name), store.AccountSession{
		Hash: model.Hash("cookie " + name), UserID: u.User.ID, IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(time.Hour),
	}))
	must(t, teststore.Grant(ctx, s, u.grant(now), store.Code{Hash: model.Hash(u.code), ExpiresAt: now.Add(time.Minute)}))
	return u
}

func (u underway) grant(now time.Time) model.Grant {
	return model.Grant{ID: model.NewID(), UserID: u.User.ID, ClientID: u.Login.Client.ID, Scope: "forgejo:read", CreatedAt: now}
}

// uses are all ways to use what the user has, or to get more.
func (u underway) uses(ctx context.Context, now time.Time) map[string]error {
	all := map[string]error{}
	_, all["bearer"] = u.s.Access(ctx, model.Hash(u.Pair.Access))
	_, _, all["refresh"] = u.s.Rotate(ctx, u.Pair.Refresh, u.Login.Client, teststore.Pair(now), store.Asked{})
	_, _, all["code"] = u.s.RedeemCode(ctx, u.code, u.Login.Client, teststore.Pair(now))
	_, all["login under way"] = u.s.FinishLogin(ctx, u.begun, u.grant(now), store.Code{Hash: model.Hash(model.NewID())})
	all["account login under way"] = u.s.FinishAccountLogin(ctx, u.begun2, store.AccountSession{Hash: model.Hash(model.NewID()), UserID: u.User.ID})
	_, all["account session"] = u.s.UseAccountSession(ctx, model.Hash("cookie "+u.User.Name), time.Hour)
	_, all["forge's tokens"] = u.s.ForgejoTokens(ctx, u.User.ID)
	all["session"] = u.s.CreateSession(ctx, model.Session{ID: model.NewID(), UserID: u.User.ID, ClientID: u.Login.Client.ID, GrantID: u.Grant.ID})
	return all
}

// anew is a login that begins now.
func (u underway) anew(t *testing.T, now time.Time) error {
	t.Helper()
	_, err := u.s.ReplaceForgejoTokens(t.Context(), u.User.ID, model.ForgejoTokens{AccessToken: "a", RefreshToken: "r"}, func(model.ForgejoTokens) bool { return true })
	return errors.Join(err, teststore.Grant(t.Context(), u.s, u.grant(now), store.Code{Hash: model.Hash(model.NewID()), ExpiresAt: now.Add(time.Minute)}))
}

// accountAnew is a login to the account page that begins now.
func (u underway) accountAnew(t *testing.T, now time.Time) error {
	t.Helper()
	state := model.Hash(model.NewID())
	must(t, u.s.CreateLogin(t.Context(), store.Login{StateHash: state, BrowserHash: state, ExpiresAt: now.Add(time.Minute)}))
	return u.s.FinishAccountLogin(t.Context(), state, store.AccountSession{Hash: state, UserID: u.User.ID})
}

// What ends of a user ends at once, whatever stage it is at, and nothing of another user.
// Only a block is in the way of what begins later.
func TestUserEnds(t *testing.T) { teststore.Both(t, testUserEnds) }

func testUserEnds(t *testing.T) {
	for name, way := range map[string]struct {
		end   func(context.Context, *store.Store, string) (store.UserEnd, error)
		after error // of a new login
	}{
		"revoked": {func(ctx context.Context, s *store.Store, subject string) (store.UserEnd, error) {
			return s.RevokeUser(ctx, subject)
		}, nil},
		"blocked": {func(ctx context.Context, s *store.Store, subject string) (store.UserEnd, error) {
			end, fresh, err := s.BlockUser(ctx, subject, "root (uid 0)")
			if again, _, _ := s.BlockUser(ctx, subject, "somebody else"); !fresh || len(again.Grants) > 0 {
				t.Errorf("blocked anew: %t, then %+v", fresh, again)
			}
			return end, err
		}, model.ErrBlocked},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.UnixMilli(1_700_000_000_000)
			s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
			alice, bob := begin(t, s, "alice", now), begin(t, s, "bob", now)
			end, err := way.end(t.Context(), s, alice.User.Subject)
			must(t, err)
			if len(end.Users) != 1 || len(end.Grants) != 2 || end.Grants[0].UserName != "alice" || end.Grants[0].ClientName != "test client" {
				t.Errorf("ended: %+v", end)
			}
			for what, err := range alice.uses(t.Context(), now) {
				if !errors.Is(err, model.ErrRevoked) && !errors.Is(err, model.ErrNotFound) {
					t.Errorf("%s: %v", what, err)
				}
			}
			for what, err := range bob.uses(t.Context(), now) {
				if err != nil {
					t.Errorf("%s of another user: %v", what, err)
				}
			}
			for what, err := range map[string]error{"a new login": alice.anew(t, now), "a new account login": alice.accountAnew(t, now)} {
				if !errors.Is(err, way.after) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if _, err := s.Access(t.Context(), model.Hash(alice.Pair.Access)); !errors.Is(err, model.ErrRevoked) {
				t.Errorf("the old token after a new login: %v", err)
			}
		})
	}
}

// A block is of a number. It holds before the user was ever here, and under another name or
// another URL of the forge; who comes under the name is somebody else.
func TestBlockIsOfTheNumber(t *testing.T) { teststore.Both(t, testBlockIsOfTheNumber) }

func testBlockIsOfTheNumber(t *testing.T) {
	s := teststore.Open(t, teststore.Path(t), nil)
	ctx := t.Context()
	_, _, err := s.BlockUser(ctx, "7", "root (uid 0)")
	must(t, err)
	may := func(forge, subject, name string) error {
		t.Helper()
		u, err := s.UpsertUser(ctx, forge, subject, name)
		must(t, err)
		_, err = s.ReplaceForgejoTokens(ctx, u.ID, model.ForgejoTokens{}, func(model.ForgejoTokens) bool { return true })
		return err
	}
	for _, who := range [][]string{{"https://a", "7", "alice"}, {"https://a", "7", "renamed"}, {"https://b", "7", "renamed"}} {
		if err := may(who[0], who[1], who[2]); !errors.Is(err, model.ErrBlocked) {
			t.Errorf("%v: %v", who, err)
		}
	}
	must(t, may("https://a", "8", "alice"))
	all, err := s.Users(ctx)
	if err != nil || len(all) != 2 || all[0].Subject != "8" || all[0].Name != "alice" || !all[0].BlockedAt.IsZero() ||
		all[1].Subject != "7" || all[1].Name != "renamed" || all[1].BlockedAt.IsZero() || all[1].BlockedBy != "root (uid 0)" {
		t.Errorf("users: %+v, %v", all, err)
	}
	must(t, s.UnblockUser(ctx, "7"))
	must(t, may("https://a", "7", "renamed"))
	if err := s.UnblockUser(ctx, "7"); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("unblocked again: %v", err)
	}
	if _, err := s.RevokeUser(ctx, "9"); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("revoked who is not known: %v", err)
	}
}

// Whichever of a block and a login's end comes first: no grant of the user stands, and no
// token of the forge is kept.
func TestBlockRacesLogins(t *testing.T) { teststore.Both(t, testBlockRacesLogins) }

func testBlockRacesLogins(t *testing.T) {
	path := teststore.Path(t)
	s, other := teststore.Open(t, path, nil), teststore.Open(t, path, nil)
	for range 20 {
		now := time.Now()
		alice := begin(t, s, model.NewID(), now)
		var race sync.WaitGroup
		race.Go(func() {
			if _, _, err := other.BlockUser(t.Context(), alice.User.Subject, "root"); err != nil {
				t.Error(err)
			}
		})
		for range 4 {
			race.Go(func() {
				if err := alice.anew(t, now); err != nil && !errors.Is(err, model.ErrBlocked) && !errors.Is(err, model.ErrRevoked) {
					t.Error(err)
				}
				_, _, err := s.Rotate(t.Context(), alice.Pair.Refresh, alice.Login.Client, teststore.Pair(now), store.Asked{})
				if err != nil && !errors.Is(err, model.ErrRevoked) && !errors.Is(err, model.ErrForgejoGrantDead) {
					t.Error(err)
				}
			})
		}
		race.Wait()
		grants, err := s.Grants(t.Context())
		must(t, err)
		if slices.ContainsFunc(grants, func(g store.GrantUse) bool { return g.UserID == alice.User.ID }) {
			t.Fatalf("a blocked user has %+v", grants)
		}
		if _, err := s.ForgejoTokens(t.Context(), alice.User.ID); !errors.Is(err, model.ErrNotFound) {
			t.Fatalf("the forge's tokens of a blocked user: %v", err)
		}
	}
}

func TestRevokeGrants(t *testing.T) { teststore.Both(t, testRevokeGrants) }

func testRevokeGrants(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	ctx := t.Context()
	first := teststore.LogIn(t, s, "alice", now)
	now = now.Add(time.Minute)
	second := teststore.LogIn(t, s, "alice", now)
	all, err := s.Grants(ctx)
	if err != nil || len(all) != 2 || all[0].ID != first.Grant.ID || all[0].Subject != "sub-alice" || all[0].Scope != first.Grant.Scope ||
		!all[0].LastUsedAt.Equal(first.Grant.CreatedAt) || !all[1].ExpiresAt.Equal(now.Add(24*time.Hour)) {
		t.Fatalf("grants: %+v, %v", all, err)
	}
	revoke := func(id string, want int, kept error) {
		t.Helper()
		ended, err := s.RevokeGrants(ctx, []string{id, "unknown"})
		if err != nil || len(ended) != want || want > 0 && ended[0].ID != id {
			t.Errorf("ended %+v, %v", ended, err)
		}
		if _, err := s.ForgejoTokens(ctx, first.User.ID); !errors.Is(err, kept) {
			t.Errorf("the forge's tokens: %v", err)
		}
	}
	revoke(first.Grant.ID, 1, nil)
	revoke(first.Grant.ID, 0, nil)
	if _, err := s.Access(ctx, model.Hash(second.Pair.Access)); err != nil {
		t.Errorf("the other grant: %v", err)
	}
	revoke(second.Grant.ID, 1, model.ErrNotFound)
	if all, err = s.Grants(ctx); err != nil || len(all) != 0 {
		t.Errorf("left: %+v, %v", all, err)
	}
}
