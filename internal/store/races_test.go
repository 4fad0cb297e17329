package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/testpostgres"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// slow has the server pause in the middle of each transaction that changes rows of a table,
// so that others come in between. SQLite's transactions have no middle.
func slow(t *testing.T, place, table, on string) {
	t.Helper()
	if teststore.IsFile(place) {
		return
	}
	testpostgres.Exec(t, place,
		"CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$",
		fmt.Sprintf("CREATE TRIGGER aa_pause BEFORE %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION pause()", on, table))
}

// However late each is, 100 refreshes with one token at two handles give one successor.
func TestSlowRotationMakesOneSuccessor(t *testing.T) {
	teststore.Both(t, testSlowRotationMakesOneSuccessor)
}

func testSlowRotationMakesOneSuccessor(t *testing.T) {
	path, c := teststore.Path(t), newClock()
	stores := [2]*store.Store{teststore.Open(t, path, c.Now), teststore.Open(t, path, c.Now)}
	l := teststore.LogIn(t, stores[0], "alice", c.Now())
	slow(t, path, "refresh_tokens", "INSERT")
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
}

// A set that comes while values are sealed anew is not overwritten by the one before.
func TestResealLosesNoNewerSet(t *testing.T) { teststore.Both(t, testResealLosesNoNewerSet) }

func testResealLosesNoNewerSet(t *testing.T) {
	path := teststore.Path(t)
	before := openWith(t, path, "a")
	var worlds []sealedWorld
	for i := range 8 {
		worlds = append(worlds, fill(t, before, fmt.Sprint("user", i)))
	}
	both, other := openWith(t, path, "ba"), openWith(t, path, "ba")
	slow(t, path, "forgejo_tokens", "UPDATE")
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := both.Reseal(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for _, w := range worlds {
		all.Go(func() {
			next := model.ForgejoTokens{AccessToken: "newer", RefreshToken: "newer"}
			if _, err := other.RenewForgejoTokens(t.Context(), w.login.User.ID, next, func(model.ForgejoTokens) bool { return true }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	after := openWith(t, path, "b")
	for _, w := range worlds {
		if set, err := after.ForgejoTokens(t.Context(), w.login.User.ID); err != nil || set.AccessToken != "newer" {
			t.Errorf("%s: the set is %q, %v", w.login.User.Name, set.AccessToken, err)
		}
	}
}

// Of two sets for a user who has none, the second is asked whether it may replace the first.
func TestFirstSetsAreOneAfterTheOther(t *testing.T) {
	teststore.Both(t, testFirstSetsAreOneAfterTheOther)
}

func testFirstSetsAreOneAfterTheOther(t *testing.T) {
	path := teststore.Path(t)
	stores := [2]*store.Store{teststore.Open(t, path, nil), teststore.Open(t, path, nil)}
	user, err := stores[0].UpsertUser(t.Context(), "https://f", "3", "alice")
	must(t, err)
	slow(t, path, "forgejo_tokens", "INSERT")
	var mu sync.Mutex
	asked := 0
	race(t, 8, stores, func(s *store.Store) error {
		_, err := s.ReplaceForgejoTokens(t.Context(), user.ID, model.ForgejoTokens{AccessToken: "a"}, func(model.ForgejoTokens) bool {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return false
		})
		return err
	})
	if asked < 7 {
		t.Errorf("%d of 8 came first", 8-asked)
	}
}

// A block of somebody who was never here meets that user's first login.
func TestBlockRacesTheFirstLogin(t *testing.T) { teststore.Both(t, testBlockRacesTheFirstLogin) }

func testBlockRacesTheFirstLogin(t *testing.T) {
	path := teststore.Path(t)
	s, other := teststore.Open(t, path, nil), teststore.Open(t, path, nil)
	slow(t, path, "blocks", "INSERT")
	for i := range 10 {
		subject, begun := fmt.Sprint("7", i), make(chan struct{})
		var both sync.WaitGroup
		both.Go(func() {
			close(begun)
			if _, _, err := other.BlockUser(t.Context(), subject, "root"); err != nil {
				t.Error(err)
			}
		})
		<-begun
		u, err := s.UpsertUser(t.Context(), "https://f", subject, "mallory"+subject)
		must(t, err)
		err = s.PutForgejoTokens(t.Context(), u.ID, model.ForgejoTokens{AccessToken: "a"})
		if err != nil && !errors.Is(err, model.ErrBlocked) {
			t.Error(err)
		}
		both.Wait()
		if _, err := s.ForgejoTokens(t.Context(), u.ID); !errors.Is(err, model.ErrNotFound) {
			t.Fatalf("round %d: a blocked user has tokens: %v", i, err)
		}
	}
}

// Two users who take one name at once have it one after the other, whatever its case.
func TestNamesRace(t *testing.T) { teststore.Both(t, testNamesRace) }

func testNamesRace(t *testing.T) {
	path := teststore.Path(t)
	stores := [2]*store.Store{teststore.Open(t, path, nil), teststore.Open(t, path, nil)}
	slow(t, path, "users", "INSERT")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := []string{"Ärger", "ÄRGER"}[i/2%2] // folded in ASCII alone, these are one name
			if _, err := stores[i%2].UpsertUser(t.Context(), "https://f", fmt.Sprint(i), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := stores[0].Users(t.Context())
	must(t, err)
	named := 0
	for _, u := range all {
		if u.Name != "" {
			named++
		}
	}
	if len(all) != 8 || named != 1 {
		t.Errorf("%d of %d users have the name", named, len(all))
	}
}

// Names are ordered and told apart as SQLite does it, whatever the server's collation: by
// bytes, but for the case of ASCII letters.
func TestNamesAreComparedAlike(t *testing.T) { teststore.Both(t, testNamesAreComparedAlike) }

func testNamesAreComparedAlike(t *testing.T) {
	s := teststore.Open(t, teststore.Path(t), nil)
	for i, name := range []string{"ä", "Ä", "zeta", "b-c", "bc", "Bd", "B_d"} {
		_, err := s.UpsertUser(t.Context(), "https://f", fmt.Sprint(i), name)
		must(t, err)
	}
	all, err := s.Users(t.Context())
	must(t, err)
	var got []string
	for _, u := range all {
		got = append(got, u.Name)
	}
	if want := "[b-c B_d bc Bd zeta Ä ä]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// Of PostgreSQL: its clock counts, and that of a host may be wrong. SQLite has none.
func TestLeaseByTheServersClock(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		path := teststore.Path(t)
		right := teststore.Open(t, path, nil)
		ahead := teststore.Open(t, path, func() time.Time { return time.Now().Add(time.Hour) })
		behind := teststore.Open(t, path, func() time.Time { return time.Now().Add(-time.Hour) })
		take := func(s *store.Store, holder string, ttl time.Duration, want bool) {
			t.Helper()
			if got, err := s.AcquireLease(t.Context(), "n", holder, ttl); err != nil || got != want {
				t.Errorf("%s: %v, %v", holder, got, err)
			}
		}
		take(right, "right", time.Minute, true)
		take(ahead, "ahead", time.Minute, false)
		must(t, ahead.Collect(t.Context()))
		take(right, "right", time.Millisecond, true)
		for got := false; !got; {
			var err error
			got, err = behind.AcquireLease(t.Context(), "n", "behind", time.Minute)
			must(t, err)
		}
		take(right, "right", time.Minute, false)
		must(t, behind.ReleaseLease(t.Context(), "n", "behind"))
		take(right, "right", time.Minute, true)
	})
}
