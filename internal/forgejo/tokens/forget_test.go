package tokens_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// A refresh that Forgejo has begun to answer does not bring back a set that is
// deleted meanwhile, from another process.
func TestRefreshBringsNoSetBack(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	w.login()
	w.advance(56 * time.Minute)
	w.fault(fakeforge.Fault{Kind: "late", Count: 1})
	refresh := async(w.token)
	w.until("the refresh is at the forge", func() bool { return w.Waiting() == 1 })
	if unused, err := w.stores[1].DropUnusedForgejoTokens(t.Context(), w.user.ID); err != nil || !unused {
		t.Fatalf("unused: %t, %v", unused, err)
	}
	w.ClearFaults()
	if r := <-refresh; !errors.Is(r.err, model.ErrForgejoGrantDead) {
		t.Errorf("the refresh: %v", r.err)
	}
	if _, err := w.stores[0].ForgejoTokens(t.Context(), w.user.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the stored set: %v", err)
	}
}
