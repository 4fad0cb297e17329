package tokens_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// Paths that answer 401 to good tokens, too, cause neither a refresh nor more than one
// question in ten seconds, from however many sessions they are asked.
func TestRefusalsOfGoodTokens(t *testing.T) {
	for name, profile := range map[string]fakeforge.Profile{"401": {}, "active": {IntrospectInactive: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, fakeforge.Config{Profile: profile})
			set := w.login()
			asked := w.Requests(fakeforge.IntrospectPath)
			for range 3 {
				for range 100 {
					got, err := w.tokens[0].Renew(t.Context(), w.user.ID, set.AccessToken)
					if err != nil || got.AccessToken != set.AccessToken {
						t.Fatalf("the good token did not come back: %v", err)
					}
				}
				w.advance(10 * time.Second)
			}
			if n := w.Requests(fakeforge.IntrospectPath) - asked; n != 3 {
				t.Errorf("the forge was asked %d times in 30 s, want 3", n)
			}
			if n := w.Stats().Refreshes; n != 0 {
				t.Errorf("%d refreshes", n)
			}
			w.ExpireAccessTokens()
			if got, err := w.tokens[0].Renew(t.Context(), w.user.ID, set.AccessToken); err != nil || got.AccessToken == set.AccessToken {
				t.Errorf("a token that has ended meanwhile was not replaced: %v", err)
			}
		})
	}
}

// A question that fails leaves the answer to the refresh.
func TestRenewalWithoutIntrospection(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	set := w.login()
	w.Advance(2 * time.Second) // so that the new tokens differ
	w.must(w.Inject(fakeforge.Fault{Path: fakeforge.IntrospectPath, Kind: "status", Status: 502}))
	if got, err := w.tokens[0].Renew(t.Context(), w.user.ID, set.AccessToken); err != nil || got.AccessToken == set.AccessToken {
		t.Errorf("the token was not replaced: %v", err)
	}
}

// A forge whose tokens end at once is not asked for more than six a minute.
func TestRenewalsAreBounded(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	set := w.login()
	renew := func() error {
		w.advance(time.Second) // so that the new tokens differ
		w.ExpireAccessTokens()
		got, err := w.tokens[0].Renew(t.Context(), w.user.ID, set.AccessToken)
		if err == nil {
			set = got
		}
		return err
	}
	for i := range 20 {
		if err := renew(); i < 6 && err != nil || i >= 6 && !errors.Is(err, model.ErrForgejoDown) {
			t.Fatalf("renewal %d: %v", i+1, err)
		}
	}
	if n := w.Stats().Refreshes; n != 6 {
		t.Errorf("%d refreshes, want 6", n)
	}
	if n := strings.Count(w.out.String(), "FJMCP_OUTCOME=too_often"); n != 1 {
		t.Errorf("audited %d times, want once:\n%s", n, w.out)
	}
	w.advance(time.Minute)
	if err := renew(); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}
