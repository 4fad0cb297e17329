package store_test

import (
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func BenchmarkAccess(b *testing.B) {
	s := teststore.Open(b, teststore.Path(b), nil)
	l := teststore.LogIn(b, s, "alice", time.Now())
	hash := model.Hash(l.Pair.Access)
	for b.Loop() {
		if _, err := s.Access(b.Context(), hash); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRotate(b *testing.B) {
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

func BenchmarkTouchSession(b *testing.B) {
	s := teststore.Open(b, teststore.Path(b), nil)
	l := teststore.LogIn(b, s, "alice", time.Now())
	session := newSession(b, s, l)
	for b.Loop() {
		if err := s.TouchSession(b.Context(), session.ID, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
