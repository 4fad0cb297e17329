package authserver_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ends are what makes a good access token a bad one.
var ends = []struct {
	name string
	end  func(t *testing.T, s *store.Store, l teststore.Login) error
	want error
}{
	{"grant revoked", func(t *testing.T, s *store.Store, l teststore.Login) error {
		return l.Revoke(t.Context(), s)
	}, model.ErrRevoked},
	{"access token given back", func(t *testing.T, s *store.Store, l teststore.Login) error {
		_, _, err := s.RevokeToken(t.Context(), l.Pair.Access, l.Client.ID)
		return err
	}, model.ErrNotFound},
	{"refresh token given back", func(t *testing.T, s *store.Store, l teststore.Login) error {
		_, _, err := s.RevokeToken(t.Context(), l.Pair.Refresh, l.Client.ID)
		return err
	}, model.ErrRevoked},
	{"forgejo's token set dead", func(t *testing.T, s *store.Store, l teststore.Login) error {
		_, err := s.DropForgejoTokens(t.Context(), l.User.ID, "forge-refresh-alice")
		return err
	}, model.ErrForgejoGrantDead},
	{"forgejo's token set withheld", func(t *testing.T, s *store.Store, l teststore.Login) error {
		_, err := s.WithholdForgejoTokens(t.Context(), func(string) bool { return false })
		return err
	}, model.ErrForgejoGrantDead},
}

func TestEndIsSeenAtOnceInTheSameProcess(t *testing.T) {
	for _, tt := range ends {
		t.Run(tt.name, func(t *testing.T) {
			s := teststore.Open(t, teststore.Path(t), nil)
			l := teststore.LogIn(t, s, "alice", time.Now())
			c := authserver.NewAccessCache(s, time.Now)
			for range 2 {
				a, err := c.Access(t.Context(), model.Hash(l.Pair.Access))
				must(t, err)
				if a.User != l.User {
					t.Errorf("got %v", a.User)
				}
			}
			must(t, tt.end(t, s, l))
			if _, err := c.Access(t.Context(), model.Hash(l.Pair.Access)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestEndIsSeenInAnotherProcess(t *testing.T) {
	for _, tt := range ends {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := teststore.Path(t)
			here, there := teststore.Open(t, path, nil), teststore.Open(t, path, nil)
			l := teststore.LogIn(t, here, "alice", time.Now())
			c := authserver.NewAccessCache(here, time.Now)
			look := func() error {
				_, err := c.Access(t.Context(), model.Hash(l.Pair.Access))
				return err
			}
			must(t, look())
			must(t, tt.end(t, there, l))
			ended := time.Now()
			looks := 0
			for err := look(); !errors.Is(err, tt.want); err = look() {
				must(t, err)
				// The entry may be used for AccessMaxAge; a look that began later must not.
				if age := time.Since(ended); age > time.Minute {
					t.Fatalf("not seen after %v", age)
				}
				looks++
				time.Sleep(time.Millisecond)
			}
			t.Logf("seen after %v and %d looks", time.Since(ended), looks)
		})
	}
}

func TestExpiryAndRename(t *testing.T) {
	now := time.Now()
	s := teststore.Open(t, teststore.Path(t), func() time.Time { return now })
	l := teststore.LogIn(t, s, "alice", now)
	c := authserver.NewAccessCache(s, func() time.Time { return now })
	_, err := c.Access(t.Context(), model.Hash(l.Pair.Access))
	must(t, err)
	_, err = s.UpsertUser(t.Context(), l.User.Forge, l.User.Subject, "alice-renamed")
	must(t, err)
	if a, err := c.Access(t.Context(), model.Hash(l.Pair.Access)); err != nil || a.User.Name != "alice-renamed" {
		t.Errorf("%v, %v", a.User, err)
	}
	now = now.Add(time.Hour)
	if _, err := c.Access(t.Context(), model.Hash(l.Pair.Access)); !errors.Is(err, model.ErrExpired) {
		t.Errorf("got %v", err)
	}
}

// A revocation while many look must not leave the token in the cache.
func TestRevocationRaces(t *testing.T) {
	s := teststore.Open(t, teststore.Path(t), nil)
	c := authserver.NewAccessCache(s, time.Now)
	for range 5 {
		l := teststore.LogIn(t, s, "alice", time.Now())
		hash := model.Hash(l.Pair.Access)
		var revoked atomic.Bool
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					after := revoked.Load()
					if _, err := c.Access(t.Context(), hash); err == nil && after {
						t.Error("a revoked token was accepted")
					} else if err != nil && !errors.Is(err, model.ErrRevoked) {
						t.Error(err)
					}
				}
			})
		}
		must(t, l.Revoke(t.Context(), s))
		revoked.Store(true)
		wg.Wait()
	}
}

// BenchmarkBearerCheck serves the same request with and without the check, in
// turns. "added-ns/req" is what the check adds, "x-without-check" the ratio to
// the handler alone, and "uncached-ns/op" what the database would take.
func BenchmarkBearerCheck(b *testing.B) {
	s := teststore.Open(b, teststore.Path(b), nil)
	l := teststore.LogIn(b, s, "alice", time.Now())
	c := authserver.NewAccessCache(s, time.Now)
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	checked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if _, err := c.Access(r.Context(), model.Hash(token)); err != nil {
			b.Error(err)
		}
		bare(w, r)
	})
	r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
	r.Header.Set("Authorization", "Bearer "+l.Pair.Access)
	serve := func(h http.Handler, n int) time.Duration {
		start := time.Now()
		for range n {
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		return time.Since(start)
	}
	const round = 100
	var with, without time.Duration
	rounds := 0
	for b.Loop() {
		without += serve(bare, round)
		with += serve(checked, round)
		rounds++
	}
	n := float64(rounds * round)
	b.ReportMetric(float64(with-without)/n, "added-ns/req")
	b.ReportMetric(float64(with)/float64(without), "x-without-check")
	start := time.Now()
	for range 500 {
		if _, err := s.Access(b.Context(), model.Hash(l.Pair.Access)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/500, "uncached-ns/op")
}
