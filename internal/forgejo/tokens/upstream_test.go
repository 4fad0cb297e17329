package tokens_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

const redirectURL = "http://broker.test/oauth/callback"

func TestOneRefreshForAll(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	old := w.login()
	w.Advance(2 * time.Second) // so that the new tokens differ
	w.advance(56 * time.Minute)
	got := w.crowd(func(tokens *tokens.Tokens) (model.ForgejoTokens, error) {
		return tokens.Token(t.Context(), w.user.ID)
	})
	if got.AccessToken == old.AccessToken || got.AccessToken != w.stored().AccessToken {
		t.Error("the set was not refreshed, or is not the stored one")
	}
	if n := w.Requests(fakeforge.TokenPath); n != 2 {
		t.Errorf("the forge saw %d token requests, want the login and one refresh", n)
	}
}

func TestOneRenewalForAll(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	old := w.login()
	w.ExpireAccessTokens()
	got := w.crowd(func(tokens *tokens.Tokens) (model.ForgejoTokens, error) {
		return tokens.Renew(t.Context(), w.user.ID, old.AccessToken)
	})
	if got.AccessToken == old.AccessToken {
		t.Error("the stale token came back")
	}
	if s := w.Stats(); s.Refreshes != 1 || s.Refused != 0 {
		t.Errorf("the forge saw %+v, want one refresh and none refused", s)
	}
}

func TestTokenThatLives(t *testing.T) {
	for _, ttl := range []time.Duration{time.Hour, time.Minute} {
		w := newWorld(t, fakeforge.Config{AccessTTL: ttl})
		set := w.login()
		got, err := w.token()
		if err != nil || got.AccessToken != set.AccessToken || w.Stats().Refreshes != 0 {
			t.Errorf("a token of %v was refreshed at once (%v)", ttl, err)
		}
	}
}

func TestDownKeepsTheLogin(t *testing.T) {
	for name, fault := range map[string]fakeforge.Fault{
		"502":  {Kind: "status", Status: 502},
		"HTML": {Kind: "html"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, fakeforge.Config{})
			set := w.login()
			w.fault(fault)
			w.advance(57 * time.Minute)
			if got, err := w.token(); err != nil || got.AccessToken != set.AccessToken {
				t.Errorf("a living token was not given out while the forge is down: %v", err)
			}
			w.advance(4 * time.Minute)
			if _, err := w.token(); !errors.Is(err, model.ErrForgejoDown) {
				t.Errorf("got %v, want ErrForgejoDown", err)
			}
			before := w.Requests(fakeforge.TokenPath)
			if _, err := w.token(); !errors.Is(err, model.ErrForgejoDown) || w.Requests(fakeforge.TokenPath) != before {
				t.Errorf("the failure was not remembered: %v", err)
			}
			if _, err := w.tokens[0].Renew(t.Context(), w.user.ID, set.AccessToken); !errors.Is(err, model.ErrForgejoDown) {
				t.Errorf("Renew gives %v, want ErrForgejoDown", err)
			}
			w.ClearFaults()
			w.advance(time.Hour)
			if _, err := w.token(); err != nil {
				t.Errorf("the login was lost: %v", err)
			}
		})
	}
}

func TestMisconfiguredKeepsTheLogin(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	w.login()
	if _, err := w.RotateSecret(w.App.ClientID); err != nil {
		t.Fatal(err)
	}
	w.advance(2 * time.Hour)
	_, err := w.token()
	var e *forgejo.Error
	if !errors.As(err, &e) || e.Kind != forgejo.Misconfigured || !errors.Is(err, model.ErrForgejoDown) {
		t.Errorf("got %v, want Misconfigured, as ErrForgejoDown", err)
	}
	w.stored()
}

func TestDeadUntilTheNextLogin(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	set := w.login()
	if _, err := w.RevokeGrants("alice"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time without asking the forge
		if _, err := w.tokens[0].Renew(t.Context(), w.user.ID, set.AccessToken); !errors.Is(err, model.ErrForgejoGrantDead) {
			t.Errorf("got %v, want ErrForgejoGrantDead", err)
		}
	}
	if n := w.Requests(fakeforge.TokenPath); n != 2 {
		t.Errorf("the forge saw %d token requests, want the login and one refresh", n)
	}
	if _, err := w.stores[0].ForgejoTokens(t.Context(), w.user.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the refused set is still stored (%v)", err)
	}
	if out := w.out.String(); strings.Count(out, "FJMCP_EVENT=forgejo_refresh_failed") != 1 || !strings.Contains(out, "FJMCP_USER=alice") || !strings.Contains(out, "FJMCP_OUTCOME=grant_dead") {
		t.Errorf("the audit trail is\n%s", out)
	}
	again := w.login()
	if got, err := w.token(); err != nil || got.AccessToken != again.AccessToken {
		t.Errorf("the login did not revive the user: %v", err)
	}
}

// Forgejo rotated and the answer was lost: the old access token is used up, then
// the user has to log in once more.
func TestAnswerLostAfterRotation(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	set := w.login()
	w.fault(fakeforge.Fault{Kind: "drop", Count: 1})
	w.advance(56 * time.Minute)
	if got, err := w.token(); err != nil || got.AccessToken != set.AccessToken {
		t.Errorf("the living token was not given out: %v", err)
	}
	w.advance(10 * time.Minute)
	if _, err := w.token(); !errors.Is(err, model.ErrForgejoGrantDead) {
		t.Errorf("got %v, want ErrForgejoGrantDead", err)
	}
	out := w.out.String()
	for _, outcome := range []string{"FJMCP_OUTCOME=down", "FJMCP_OUTCOME=grant_dead"} {
		if !strings.Contains(out, outcome) {
			t.Errorf("the audit trail lacks %s:\n%s", outcome, out)
		}
	}
	for _, secret := range []string{set.AccessToken, set.RefreshToken, w.App.ClientSecret} {
		if strings.Contains(out, secret) {
			t.Error("the log tells a secret")
		}
	}
	w.login()
	if _, err := w.token(); err != nil {
		t.Errorf("the login did not revive the user: %v", err)
	}
}

func TestLateAnswerDoesNotOverwriteLogin(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	w.login()
	w.advance(56 * time.Minute)
	w.fault(fakeforge.Fault{Kind: "late", Count: 1})
	refresh := async(w.token)
	w.until("the refresh is at the forge", func() bool { return w.Waiting() == 1 })
	newer := w.login()
	w.ClearFaults()
	if r := <-refresh; r.err != nil || r.set.RefreshToken != newer.RefreshToken {
		t.Errorf("the refresh returned another set than the login's (%v)", r.err)
	}
	if w.stored().RefreshToken != newer.RefreshToken {
		t.Error("the late answer overwrote the login")
	}
}

func TestLoginDuringRefresh(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	w.login()
	w.advance(56 * time.Minute)
	w.fault(fakeforge.Fault{Kind: "hold", Count: 1})
	refresh := async(w.token)
	w.until("the refresh is at the forge", func() bool { return w.Waiting() == 1 })
	newer := w.login() // kills the refresh token that is on its way
	w.ClearFaults()
	if r := <-refresh; r.err != nil || r.set.RefreshToken != newer.RefreshToken {
		t.Errorf("the refused refresh did not give the login's set (%v)", r.err)
	}
	if w.Stats().Refused != 1 || strings.Contains(w.out.String(), "forgejo_refresh_failed") {
		t.Errorf("want one silent refusal, got %+v and\n%s", w.Stats(), w.out)
	}
}

func TestPutKeepsTheNewerSet(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	older, newer := w.exchange(), w.exchange()
	for _, set := range []model.ForgejoTokens{newer, older} {
		w.must(w.tokens[0].Put(t.Context(), w.user.ID, set))
	}
	if w.stored().RefreshToken != newer.RefreshToken {
		t.Error("an older login overwrote a newer one")
	}
}

func TestRefreshOutlivesItsCaller(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	old := w.login()
	w.advance(56 * time.Minute)
	w.fault(fakeforge.Fault{Kind: "late", Count: 1})
	ctx, cancel := context.WithCancel(t.Context())
	refresh := async(func() (model.ForgejoTokens, error) { return w.tokens[0].Token(ctx, w.user.ID) })
	w.until("the refresh is at the forge", func() bool { return w.Waiting() == 1 })
	cancel()
	if r := <-refresh; !errors.Is(r.err, context.Canceled) {
		t.Errorf("the caller got %v", r.err)
	}
	w.ClearFaults()
	w.until("the rotated set is stored", func() bool { return w.stored().RefreshToken != old.RefreshToken })
}

// The end of the process waits for a refresh that its caller has left.
func TestCloseWaitsForARefresh(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	old := w.login()
	w.advance(56 * time.Minute)
	w.fault(fakeforge.Fault{Kind: "late", Count: 1})
	ctx, cancel := context.WithCancel(t.Context())
	refresh := async(func() (model.ForgejoTokens, error) { return w.tokens[0].Token(ctx, w.user.ID) })
	w.until("the refresh is at the forge", func() bool { return w.Waiting() == 1 })
	cancel()
	<-refresh
	closed := make(chan error, 1)
	go func() { closed <- w.tokens[0].Close(t.Context()) }()
	select {
	case <-closed:
		t.Error("it did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	w.ClearFaults()
	w.must(<-closed)
	if w.stored().RefreshToken == old.RefreshToken {
		t.Error("the rotated set is not stored")
	}
}

// A process died with the lease: the next refresh waits for the lease's end.
func TestLeaseOfADeadProcess(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	old := w.login()
	w.advance(56 * time.Minute)
	got, err := w.stores[1].AcquireLease(t.Context(), "forgejo-refresh/"+w.user.ID, "dead process", 20*time.Second)
	if err != nil || !got {
		t.Fatalf("AcquireLease = %v, %v", got, err)
	}
	refresh := async(w.token)
	w.advance(21 * time.Second)
	if r := <-refresh; r.err != nil || r.set.RefreshToken == old.RefreshToken {
		t.Errorf("no refresh after the lease's end: %v", r.err)
	}
}

func TestNewRefusesGaps(t *testing.T) {
	if _, err := tokens.New(tokens.Config{}); err == nil {
		t.Error("a Config without a store was accepted")
	}
}
