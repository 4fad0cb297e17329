package forgejo_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

func inject(t *testing.T, w *world, fault fakeforge.Fault) {
	t.Helper()
	if err := w.Inject(fault); err != nil {
		t.Fatal(err)
	}
}

// failing is a call that must fail: on a world where alice has just logged in.
type failing struct {
	name string
	cfg  fakeforge.Config
	call func(t *testing.T, w *world, set model.ForgejoTokens) error
	kind forgejo.Kind
}

func check(t *testing.T, cases []failing) {
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.cfg)
			set := w.login(t)
			err := tt.call(t, w, set)
			var e *forgejo.Error
			if !errors.As(err, &e) || e.Kind != tt.kind {
				t.Fatalf("got %v, want kind %v", err, tt.kind)
			}
			down := tt.kind == forgejo.Down || tt.kind == forgejo.Misconfigured
			if errors.Is(err, model.ErrForgejoDown) != down {
				t.Errorf("errors.Is(ErrForgejoDown) = %v for %v", !down, err)
			}
			dead := tt.kind == forgejo.GrantDead || tt.kind == forgejo.Suspended
			if errors.Is(err, model.ErrForgejoGrantDead) != dead {
				t.Errorf("errors.Is(ErrForgejoGrantDead) = %v for %v", !dead, err)
			}
			for _, secret := range []string{set.AccessToken, set.RefreshToken, w.App.ClientSecret, "gta_"} {
				if strings.Contains(err.Error()+e.UserMessage(), secret) {
					t.Errorf("the error tells a secret: %v", err)
				}
			}
		})
	}
}

func exchange(t *testing.T, w *world, change func(*forgejo.Config), spoil func(code, verifier *string)) error {
	t.Helper()
	code, verifier := w.code(t, w.client)
	spoil(&code, &verifier)
	_, err := w.with(t, change).Exchange(t.Context(), code, verifier)
	return err
}

func TestExchangeErrors(t *testing.T) {
	same := func(*forgejo.Config) {}
	good := func(_, _ *string) {}
	check(t, []failing{
		{name: "unknown code", kind: forgejo.Denied, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return exchange(t, w, same, func(code, _ *string) { *code = "gta_unknown" })
		}},
		{name: "used code", kind: forgejo.Denied, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			code, verifier := w.code(t, w.client)
			if _, err := w.client.Exchange(t.Context(), code, verifier); err != nil {
				t.Fatal(err)
			}
			_, err := w.client.Exchange(t.Context(), code, verifier)
			return err
		}},
		{name: "expired code", cfg: fakeforge.Config{Profile: fakeforge.Gitea126}, kind: forgejo.Denied, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return exchange(t, w, same, func(_, _ *string) { w.Advance(time.Hour) })
		}},
		{name: "wrong verifier", kind: forgejo.Denied, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return exchange(t, w, same, func(_, verifier *string) { *verifier = forgejo.NewVerifier() })
		}},
		{name: "wrong redirect URI", kind: forgejo.Denied, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return exchange(t, w, func(c *forgejo.Config) { c.RedirectURL = "http://broker.test/other" }, good)
		}},
		{name: "wrong secret", kind: forgejo.Misconfigured, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return exchange(t, w, func(c *forgejo.Config) { c.ClientSecret = "wrong" }, good)
		}},
		{name: "unknown application", kind: forgejo.Misconfigured, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return exchange(t, w, func(c *forgejo.Config) { c.ClientID = "unknown" }, good)
		}},
		{name: "forge down", kind: forgejo.Down, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return exchange(t, w, same, func(_, _ *string) { inject(t, w, fakeforge.Fault{Kind: "status", Status: 502}) })
		}},
	})
}

func refresh(t *testing.T, w *world, set model.ForgejoTokens) error {
	_, err := w.client.Refresh(t.Context(), set)
	return err
}

// refreshAfter refreshes once f has been done to the forge.
func refreshAfter(f func(w *world) error) func(*testing.T, *world, model.ForgejoTokens) error {
	return func(t *testing.T, w *world, set model.ForgejoTokens) error {
		if err := f(w); err != nil {
			t.Fatal(err)
		}
		return refresh(t, w, set)
	}
}

// refreshDuring refreshes while the forge has a fault.
func refreshDuring(fault fakeforge.Fault) func(*testing.T, *world, model.ForgejoTokens) error {
	return refreshAfter(func(w *world) error { return w.Inject(fault) })
}

func TestRefreshErrors(t *testing.T) {
	check(t, []failing{
		{name: "used token", kind: forgejo.GrantDead, call: func(t *testing.T, w *world, set model.ForgejoTokens) error {
			if err := refresh(t, w, set); err != nil {
				t.Fatal(err)
			}
			return refresh(t, w, set)
		}},
		{name: "another login", kind: forgejo.GrantDead, call: func(t *testing.T, w *world, set model.ForgejoTokens) error {
			w.login(t)
			return refresh(t, w, set)
		}},
		{name: "garbage", kind: forgejo.GrantDead, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return refresh(t, w, model.ForgejoTokens{RefreshToken: "garbage"})
		}},
		{name: "no token", kind: forgejo.GrantDead, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return refresh(t, w, model.ForgejoTokens{})
		}},
		{name: "expired", kind: forgejo.GrantDead, call: refreshAfter(func(w *world) error { w.Advance(1000 * time.Hour); return nil })},
		{name: "revoked", kind: forgejo.GrantDead, call: refreshAfter(func(w *world) error { _, err := w.RevokeGrants("alice"); return err })},
		{name: "user deleted", kind: forgejo.GrantDead, call: refreshAfter(func(w *world) error { return w.DeleteUser("alice") })},
		{name: "of another application", kind: forgejo.GrantDead, call: func(t *testing.T, w *world, set model.ForgejoTokens) error {
			other, err := w.Register(fakeforge.App{Name: "other", RedirectURIs: []string{redirectURL}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.with(t, func(c *forgejo.Config) { c.ClientID, c.ClientSecret = other.ClientID, other.ClientSecret }).Refresh(t.Context(), set)
			return err
		}},
		{name: "secret rotated", kind: forgejo.Misconfigured, call: refreshAfter(func(w *world) error { _, err := w.RotateSecret(w.App.ClientID); return err })},
		{name: "application deleted", kind: forgejo.Misconfigured, call: refreshAfter(func(w *world) error { return w.DeleteApp(w.App.ClientID) })},
		{name: "status 500", kind: forgejo.Down, call: refreshDuring(fakeforge.Fault{Kind: "status", Status: 500})},
		{name: "status 404", kind: forgejo.Down, call: refreshDuring(fakeforge.Fault{Kind: "status", Status: 404})},
		{name: "status 429", kind: forgejo.Down, call: refreshDuring(fakeforge.Fault{Kind: "status", Status: 429})},
		{name: "HTML with 200", kind: forgejo.Down, call: refreshDuring(fakeforge.Fault{Kind: "html"})},
		{name: "answer lost", kind: forgejo.Down, call: refreshDuring(fakeforge.Fault{Kind: "drop"})},
		{name: "unreachable", kind: forgejo.Down, call: func(t *testing.T, w *world, set model.ForgejoTokens) error {
			_, err := w.with(t, func(c *forgejo.Config) { c.URL = "http://127.0.0.1:1" }).Refresh(t.Context(), set)
			return err
		}},
		{name: "no answer in time", kind: forgejo.Down, call: func(t *testing.T, w *world, set model.ForgejoTokens) error {
			inject(t, w, fakeforge.Fault{Kind: "hold"})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := w.client.Refresh(ctx, set)
			return err
		}},
		{name: "redirect", kind: forgejo.Misconfigured, call: func(t *testing.T, w *world, set model.ForgejoTokens) error {
			thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
			defer thief.Close()
			mover := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
			defer mover.Close()
			_, err := w.with(t, func(c *forgejo.Config) { c.URL = mover.URL }).Refresh(t.Context(), set)
			return err
		}},
	})
}

func TestIdentityErrors(t *testing.T) {
	identity := func(t *testing.T, w *world, set model.ForgejoTokens) error {
		_, err := w.client.Identity(t.Context(), set.AccessToken)
		return err
	}
	scope := func(t *testing.T, w *world, set model.ForgejoTokens) error {
		_, err := w.client.Introspect(t.Context(), set.AccessToken)
		return err
	}
	after := func(call func(*testing.T, *world, model.ForgejoTokens) error, f func(w *world) error) func(*testing.T, *world, model.ForgejoTokens) error {
		return func(t *testing.T, w *world, set model.ForgejoTokens) error {
			if err := f(w); err != nil {
				t.Fatal(err)
			}
			return call(t, w, set)
		}
	}
	expire := func(w *world) error { w.ExpireAccessTokens(); return nil }
	later := fakeforge.Forgejo15
	later.IntrospectInactive = true
	check(t, []failing{
		{name: "suspended", kind: forgejo.Suspended, call: after(identity, func(w *world) error { return w.Suspend("alice", true) })},
		{name: "maintenance page", kind: forgejo.Down, call: after(identity, func(w *world) error {
			return w.Inject(fakeforge.Fault{Path: fakeforge.UserinfoPath, Kind: "html"})
		})},
		{name: "dead token", kind: forgejo.Denied, call: after(identity, expire)},
		{name: "failing", kind: forgejo.Down, call: after(identity, func(w *world) error { return w.Inject(fakeforge.Fault{Kind: "status", Status: 500}) })},
		{name: "introspect dead token", kind: forgejo.Denied, call: after(scope, expire)},
		{name: "introspect inactive token", cfg: fakeforge.Config{Profile: later}, kind: forgejo.Denied, call: after(scope, expire)},
		{name: "introspect HTML", kind: forgejo.Down, call: after(scope, func(w *world) error { return w.Inject(fakeforge.Fault{Kind: "html"}) })},
		{name: "check HTML", kind: forgejo.Down, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			inject(t, w, fakeforge.Fault{Kind: "html"})
			return reach(t, w.client)
		}},
		{name: "check client", kind: forgejo.Misconfigured, call: func(t *testing.T, w *world, _ model.ForgejoTokens) error {
			return w.with(t, func(c *forgejo.Config) { c.ClientSecret = "wrong" }).CheckClient(t.Context())
		}},
	})
}
