package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func BenchmarkAccess(b *testing.B) { teststore.BenchmarkBoth(b, benchmarkAccess) }

func benchmarkAccess(b *testing.B) {
	s := teststore.Open(b, teststore.Path(b), nil)
	l := teststore.LogIn(b, s, "alice", time.Now())
	hash := model.Hash(l.Pair.Access)
	for b.Loop() {
		if _, err := s.Access(b.Context(), hash); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRotate(b *testing.B) { teststore.BenchmarkBoth(b, benchmarkRotate) }

func benchmarkRotate(b *testing.B) {
	s := teststore.Open(b, teststore.Path(b), nil)
	l := teststore.LogIn(b, s, "alice", time.Now())
	token := l.Pair.Refresh
	for b.Loop() {
		_, p, err := s.Rotate(b.Context(), token, l.Client, teststore.Pair(time.Now()), store.Asked{})
		if err != nil {
			b.Fatal(err)
		}
		token = p.Refresh
	}
}

// BenchmarkRefreshes is refreshes of 32 logins at once.
func BenchmarkRefreshes(b *testing.B) { teststore.BenchmarkBoth(b, benchmarkRefreshes) }

func benchmarkRefreshes(b *testing.B) {
	s := teststore.Open(b, teststore.Path(b), nil)
	var logins [32]teststore.Login
	for i := range logins {
		logins[i] = teststore.LogIn(b, s, fmt.Sprint("user", i), time.Now())
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for _, l := range logins {
		all.Go(func() {
			for token := l.Pair.Refresh; left.Add(-1) >= 0; {
				_, p, err := s.Rotate(b.Context(), token, l.Client, teststore.Pair(time.Now()), store.Asked{})
				if err != nil {
					b.Error(err)
					return
				}
				token = p.Refresh
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
}

func BenchmarkTouchSession(b *testing.B) { teststore.BenchmarkBoth(b, benchmarkTouchSession) }

func benchmarkTouchSession(b *testing.B) {
	s := teststore.Open(b, teststore.Path(b), nil)
	l := teststore.LogIn(b, s, "alice", time.Now())
	session := newSession(b, s, l)
	for b.Loop() {
		if err := s.TouchSession(b.Context(), session.ID, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
