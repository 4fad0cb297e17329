package store_test

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestAccess(t *testing.T) { teststore.Both(t, testAccess) }

func testAccess(t *testing.T) {
	s, c := open(t)
	l := teststore.LogIn(t, s, "alice", c.Now())
	a, err := s.Access(t.Context(), model.Hash(l.Pair.Access))
	must(t, err)
	want := model.Access{
		User: l.User, ClientID: l.Client.ID, Client: "test client", GrantID: l.Grant.ID,
		Scope: "forgejo:read forgejo:write", ExpiresAt: l.Pair.AccessExpiresAt,
	}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("got %+v\nwant %+v", a, want)
	}
	_, err = s.Access(t.Context(), model.Hash(l.Pair.Refresh))
	wantErr(t, err, model.ErrNotFound)
	c.Add(time.Hour)
	_, err = s.Access(t.Context(), model.Hash(l.Pair.Access))
	wantErr(t, err, model.ErrExpired)
	must(t, l.Revoke(t.Context(), s))
	_, err = s.Access(t.Context(), model.Hash(l.Pair.Access))
	wantErr(t, err, model.ErrRevoked)
}

func TestRotationGrace(t *testing.T) { teststore.Both(t, testRotationGrace) }

func testRotationGrace(t *testing.T) {
	use := map[string]func(*store.Store, *testing.T, teststore.Login, store.Pair, time.Time){
		"by its access token": func(s *store.Store, t *testing.T, _ teststore.Login, p store.Pair, _ time.Time) {
			_, err := s.Access(t.Context(), model.Hash(p.Access))
			must(t, err)
		},
		"by its refresh token": func(s *store.Store, t *testing.T, l teststore.Login, p store.Pair, now time.Time) {
			_, _, err := s.Rotate(t.Context(), p.Refresh, l.Client, teststore.Pair(now), store.Asked{})
			must(t, err)
		},
	}
	for name, useSuccessor := range use {
		t.Run(name, func(t *testing.T) {
			s, c := open(t)
			l := teststore.LogIn(t, s, "alice", c.Now())
			rotate := func() (store.Pair, error) {
				_, p, err := s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(c.Now()), store.Asked{})
				return p, err
			}
			first, err := rotate()
			must(t, err)
			c.Add(50 * time.Minute) // unused: no window runs
			again, err := rotate()
			must(t, err)
			if again != first {
				t.Error("a repeated refresh gave another successor")
			}
			useSuccessor(s, t, l, first, c.Now())
			must(t, s.Collect(t.Context()))
			c.Add(store.Grace)
			if again, err = rotate(); err != nil || again != first {
				t.Errorf("within the grace window: %v", err)
			}
			c.Add(time.Second)
			_, err = rotate()
			wantErr(t, err, model.ErrReused)
			_, err = s.Access(t.Context(), model.Hash(first.Access))
			wantErr(t, err, model.ErrRevoked)
			_, err = rotate()
			wantErr(t, err, model.ErrRevoked)
		})
	}
}

func TestUnusedSuccessorGetsALivingAccessToken(t *testing.T) {
	teststore.Both(t, testUnusedSuccessorGetsALivingAccessToken)
}

func testUnusedSuccessorGetsALivingAccessToken(t *testing.T) {
	s, c := open(t)
	l := teststore.LogIn(t, s, "alice", c.Now())
	_, first, err := s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(c.Now()), store.Asked{})
	must(t, err)
	c.Add(2 * time.Hour)
	_, second, err := s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(c.Now()), store.Asked{})
	must(t, err)
	if second.Refresh != first.Refresh || second.Access == first.Access {
		t.Error("want the same refresh token with a new access token")
	}
	_, err = s.Access(t.Context(), model.Hash(second.Access))
	must(t, err)
}

func TestCollectForgetsSealedSuccessors(t *testing.T) {
	teststore.Both(t, testCollectForgetsSealedSuccessors)
}

func testCollectForgetsSealedSuccessors(t *testing.T) {
	path, c := teststore.Path(t), newClock()
	s := teststore.Open(t, path, c.Now)
	l := teststore.LogIn(t, s, "alice", c.Now())
	_, p, err := s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(c.Now()), store.Asked{})
	must(t, err)
	_, err = s.Access(t.Context(), model.Hash(p.Access))
	must(t, err)
	c.Add(store.Grace + time.Second)
	must(t, s.Collect(t.Context()))
	if n := count(t, path, "SELECT count(*) FROM refresh_tokens WHERE successor_sealed IS NOT NULL"); n != 0 {
		t.Errorf("%d sealed successors are left", n)
	}
	_, _, err = s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(c.Now()), store.Asked{})
	wantErr(t, err, model.ErrReused)
}

func TestRotateRefusals(t *testing.T) { teststore.Both(t, testRotateRefusals) }

func testRotateRefusals(t *testing.T) {
	s, c := open(t)
	l := teststore.LogIn(t, s, "alice", c.Now())
	other := teststore.LogIn(t, s, "bob", c.Now())
	rotate := func(token, client string) error {
		_, _, err := s.Rotate(t.Context(), token, model.Client{ID: client}, teststore.Pair(c.Now()), store.Asked{})
		return err
	}
	wantErr(t, rotate("unknown", l.Client.ID), model.ErrNotFound)
	wantErr(t, rotate(l.Pair.Refresh, other.Client.ID), model.ErrNotFound)
	must(t, teststore.DropTokens(t.Context(), s, l.User.ID))
	wantErr(t, rotate(l.Pair.Refresh, l.Client.ID), model.ErrForgejoGrantDead)
	must(t, s.PutForgejoTokens(t.Context(), l.User.ID, model.ForgejoTokens{AccessToken: "new login"}))
	must(t, rotate(l.Pair.Refresh, l.Client.ID))
	c.Add(25 * time.Hour)
	wantErr(t, rotate(other.Pair.Refresh, other.Client.ID), model.ErrExpired)
}

func TestRevokeToken(t *testing.T) { teststore.Both(t, testRevokeToken) }

func testRevokeToken(t *testing.T) {
	s, c := open(t)
	l := teststore.LogIn(t, s, "alice", c.Now())
	_, _, err := s.RevokeToken(t.Context(), l.Pair.Access, "another client")
	wantErr(t, err, model.ErrNotFound)
	_, kind, err := s.RevokeToken(t.Context(), l.Pair.Access, l.Client.ID)
	if err != nil || kind != store.KindAccess {
		t.Errorf("kind %q, %v", kind, err)
	}
	_, err = s.Access(t.Context(), model.Hash(l.Pair.Access))
	wantErr(t, err, model.ErrNotFound)
	_, kind, err = s.RevokeToken(t.Context(), l.Pair.Refresh, l.Client.ID)
	if err != nil || kind != store.KindRefresh {
		t.Errorf("kind %q, %v", kind, err)
	}
	_, _, err = s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(c.Now()), store.Asked{})
	wantErr(t, err, model.ErrRevoked)
}

func TestCodeRefusals(t *testing.T) { teststore.Both(t, testCodeRefusals) }

func testCodeRefusals(t *testing.T) {
	s, c := open(t)
	l := teststore.LogIn(t, s, "alice", c.Now())
	code := model.NewToken(model.PrefixCode)
	grant := model.Grant{ID: "g2", UserID: l.User.ID, ClientID: l.Client.ID, CreatedAt: c.Now()}
	must(t, teststore.Grant(t.Context(), s, grant, store.Code{Hash: model.Hash(code), Challenge: "ch", ExpiresAt: c.Now().Add(time.Minute)}))
	redeem := func(code string) error {
		_, _, err := s.RedeemCode(t.Context(), code, l.Client, teststore.Pair(c.Now()))
		return err
	}
	look := func() {
		t.Helper()
		if g, c, err := s.Code(t.Context(), code); err != nil || g.ID != "g2" || c.Challenge != "ch" {
			t.Errorf("got grant %v, code %v, %v", g, c, err)
		}
	}
	_, _, err := s.Code(t.Context(), "unknown")
	wantErr(t, err, model.ErrNotFound)
	wantErr(t, redeem("unknown"), model.ErrNotFound)
	look()
	c.Add(time.Minute)
	wantErr(t, redeem(code), model.ErrExpired)
	c.Add(-time.Second)
	must(t, redeem(code)) // a look and a refusal consumed nothing
	c.Add(time.Hour)
	look() // also at a used one, else who sent it could not be told from its owner
	wantErr(t, redeem(code), model.ErrReused)
	wantErr(t, redeem(code), model.ErrRevoked)
}

// race calls fn n times at once, by turns on two stores of one file, and counts
// the outcomes.
func race(t *testing.T, n int, stores [2]*store.Store, fn func(*store.Store) error) (ok, refused int) {
	t.Helper()
	var won, lost atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			switch err := fn(stores[i%2]); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, model.ErrReused), errors.Is(err, model.ErrRevoked):
				lost.Add(1)
			default:
				t.Errorf("unexpected error: %v", err)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load()), int(lost.Load())
}

func count(t *testing.T, path, query string) (n int) {
	t.Helper()
	db, err := openSQL(path)
	must(t, err)
	defer db.Close()
	must(t, db.QueryRow(query).Scan(&n))
	return n
}

func TestConcurrentRedemptionMakesOneFamily(t *testing.T) {
	teststore.Both(t, testConcurrentRedemptionMakesOneFamily)
}

func testConcurrentRedemptionMakesOneFamily(t *testing.T) {
	path, c := teststore.Path(t), newClock()
	stores := [2]*store.Store{teststore.Open(t, path, c.Now), teststore.Open(t, path, c.Now)}
	l := teststore.LogIn(t, stores[0], "alice", c.Now())
	code := model.NewToken(model.PrefixCode)
	grant := model.Grant{ID: "g2", UserID: l.User.ID, ClientID: l.Client.ID, CreatedAt: c.Now()}
	must(t, teststore.Grant(t.Context(), stores[0], grant, store.Code{Hash: model.Hash(code), ExpiresAt: c.Now().Add(time.Minute)}))
	ok, refused := race(t, 100, stores, func(s *store.Store) error {
		_, _, err := s.RedeemCode(t.Context(), code, l.Client, teststore.Pair(c.Now()))
		return err
	})
	if ok != 1 || refused != 99 {
		t.Errorf("%d redeemed, %d refused", ok, refused)
	}
	if n := count(t, path, "SELECT count(*) FROM refresh_tokens WHERE grant_id = 'g2'"); n != 1 {
		t.Errorf("%d refresh tokens for one code", n)
	}
}

func TestConcurrentRotationMakesOneSuccessor(t *testing.T) {
	teststore.Both(t, testConcurrentRotationMakesOneSuccessor)
}

func testConcurrentRotationMakesOneSuccessor(t *testing.T) {
	path, c := teststore.Path(t), newClock()
	stores := [2]*store.Store{teststore.Open(t, path, c.Now), teststore.Open(t, path, c.Now)}
	l := teststore.LogIn(t, stores[0], "alice", c.Now())
	var mu sync.Mutex
	pairs := map[store.Pair]int{}
	ok, _ := race(t, 100, stores, func(s *store.Store) error {
		_, p, err := s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(c.Now()), store.Asked{})
		mu.Lock()
		defer mu.Unlock()
		pairs[p]++
		return err
	})
	if ok != 100 || len(pairs) != 1 {
		t.Errorf("%d succeeded with %d different successors", ok, len(pairs))
	}
	if n := count(t, path, "SELECT count(*) FROM refresh_tokens"); n != 2 {
		t.Errorf("%d refresh tokens, want the first and its successor", n)
	}
}
