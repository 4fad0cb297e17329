package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// Each read is timed, and each write with its transaction, once.
func TestTimed(t *testing.T) { teststore.Both(t, testTimed) }

func testTimed(t *testing.T) {
	var mu sync.Mutex
	seen := map[database.Operation]int{}
	place := teststore.Path(t)
	o := teststore.At(place)
	o.Keys, o.Timed = teststore.Keys(t), func(op database.Operation, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if seen[op]++; took <= 0 || took > time.Minute {
			t.Errorf("a %s took %v", op, took)
		}
	}
	s, err := store.Open(t.Context(), o)
	must(t, err)
	defer s.Close()
	times := func(what string, do func(), reads, writes int) {
		t.Helper()
		mu.Lock()
		clear(seen)
		mu.Unlock()
		do()
		mu.Lock()
		defer mu.Unlock()
		if seen[database.Read] != reads || seen[database.Write] != writes {
			t.Errorf("%s: timed were %v, want %d reads and %d writes", what, seen, reads, writes)
		}
	}
	client := model.Client{ID: "c", Name: "c", RedirectURIs: []string{"https://c.example/cb"}}
	times("a statement", func() { must(t, s.CreateClient(t.Context(), client)) }, 0, 1)
	times("a transaction", func() { _, err := s.UpsertUser(t.Context(), "f", "1", "alice"); must(t, err) }, 0, 1)
	times("a read", func() { _, err := s.Client(t.Context(), "c"); must(t, err) }, 1, 0)
	counts := 1
	if !teststore.IsFile(place) {
		counts = 2 // the server is asked for its size
	}
	times("counts", func() { _, err := s.Count(t.Context()); must(t, err) }, counts, 0)
	times("nothing", func() {}, 0, 0)
}
