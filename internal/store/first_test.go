package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// After a start every statement is new. Writers that prepare the same one while
// a transaction goes on must not keep it from ending.
func TestFirstWritesDuringATransaction(t *testing.T) {
	teststore.Both(t, testFirstWritesDuringATransaction)
}

func testFirstWritesDuringATransaction(t *testing.T) {
	path := teststore.Path(t)
	l := teststore.LogIn(t, teststore.Open(t, path, nil), "alice", time.Now())
	s := teststore.Open(t, path, nil)
	var wg sync.WaitGroup
	done := make(chan error, 1)
	go func() {
		_, err := s.ReplaceForgejoTokens(t.Context(), l.User.ID, model.ForgejoTokens{AccessToken: "next"}, func(model.ForgejoTokens) bool {
			for range 8 {
				wg.Go(func() {
					if err := s.CreateClient(t.Context(), model.Client{ID: model.NewID(), AuthMethod: "none", CreatedAt: time.Now()}); err != nil {
						t.Error(err)
					}
				})
			}
			time.Sleep(100 * time.Millisecond) // lets them come as far as they can
			return true
		})
		wg.Wait()
		done <- err
	}()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the writers wait for each other")
	}
}
