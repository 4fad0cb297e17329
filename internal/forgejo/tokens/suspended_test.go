package tokens_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

func TestSuspendedUserLosesTheLogin(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	w.login()
	tokens := w.tokens[0]
	if suspended, err := tokens.Suspended(t.Context(), w.user.ID); suspended || err != nil {
		t.Fatalf("a user who may sign in: %v, %v", suspended, err)
	}
	asked := w.Requests(fakeforge.UserinfoPath)
	for range 300 { // as often as forgejo-mcp asks for something that is forbidden
		if suspended, err := tokens.Suspended(t.Context(), w.user.ID); suspended || err != nil {
			t.Fatalf("a user who may sign in: %v, %v", suspended, err)
		}
	}
	if n := w.Requests(fakeforge.UserinfoPath) - asked; n != 0 {
		t.Errorf("the forge was asked %d times more", n)
	}
	w.must(w.Suspend(w.user.Name, true))
	w.advance(10 * time.Second)
	if suspended, err := tokens.Suspended(t.Context(), w.user.ID); !suspended || err != nil {
		t.Fatalf("a suspended user: %v, %v", suspended, err)
	}
	if _, err := w.token(); !errors.Is(err, model.ErrForgejoGrantDead) {
		t.Errorf("Token = %v, want the login dead", err)
	}
	if n := strings.Count(w.out.String(), "FJMCP_OUTCOME=suspended"); n != 1 {
		t.Errorf("audited %d times, want once", n)
	}
	w.must(w.Suspend(w.user.Name, false))
	w.login()
	if _, err := w.token(); err != nil {
		t.Errorf("after the next login: %v", err)
	}
}

// A page of some proxy's says nothing about the user.
func TestSuspendedIsNotGuessed(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	w.login()
	w.must(w.Inject(fakeforge.Fault{Path: fakeforge.UserinfoPath, Kind: "html"}))
	if suspended, err := w.tokens[0].Suspended(t.Context(), w.user.ID); suspended || !errors.Is(err, model.ErrForgejoDown) {
		t.Errorf("Suspended = %v, %v; want that Forgejo could not be asked", suspended, err)
	}
	if _, err := w.token(); err != nil {
		t.Errorf("the login is gone: %v", err)
	}
}
