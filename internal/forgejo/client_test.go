package forgejo_test

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

const redirectURL = "http://broker.test/oauth/callback"

// world is a forge and a client of it.
type world struct {
	*fakeforge.Server
	cfg    forgejo.Config
	client *forgejo.Client
}

func newWorld(t *testing.T, cfg fakeforge.Config) *world {
	t.Helper()
	w := &world{Server: fakeforge.Start(t, cfg, redirectURL)}
	w.cfg = forgejo.Config{URL: w.URL, ClientID: w.App.ClientID, ClientSecret: w.App.ClientSecret, RedirectURL: redirectURL}
	w.client = w.with(t, func(*forgejo.Config) {})
	return w
}

// with returns a client whose configuration differs.
func (w *world) with(t *testing.T, change func(*forgejo.Config)) *forgejo.Client {
	t.Helper()
	cfg := w.cfg
	change(&cfg)
	c, err := forgejo.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// code logs alice in and returns the code and its verifier.
func (w *world) code(t *testing.T, c *forgejo.Client) (code, verifier string) {
	t.Helper()
	verifier = forgejo.NewVerifier()
	back, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(t.Context(), c.AuthCodeURL("the-state", verifier))
	if err != nil {
		t.Fatal(err)
	}
	if got := back.URL.Query().Get("state"); got != "the-state" {
		t.Fatalf("state is %q after the login", got)
	}
	return back.URL.Query().Get("code"), verifier
}

func (w *world) login(t *testing.T) model.ForgejoTokens {
	t.Helper()
	code, verifier := w.code(t, w.client)
	set, err := w.client.Exchange(t.Context(), code, verifier)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestLogin(t *testing.T) {
	for _, profile := range fakeforge.Profiles {
		t.Run(profile.Name, func(t *testing.T) {
			w := newWorld(t, fakeforge.Config{Profile: profile})
			set := w.login(t)
			if d := time.Until(set.ExpiresAt); d < 59*time.Minute || d > 61*time.Minute {
				t.Errorf("the access token ends in %v, want an hour", d)
			}
			who, err := w.client.Identity(t.Context(), set.AccessToken)
			if want := (forgejo.Identity{Subject: "1", Name: "alice"}); err != nil || who != want {
				t.Errorf("Identity = %v, %v, want %v", who, err, want)
			}
			granted, err := w.client.Introspect(t.Context(), set.AccessToken)
			if want := (forgejo.Token{Identity: who, Scope: w.client.Scope()}); err != nil || granted != want || w.client.VerifyScope(granted.Scope) != nil {
				t.Errorf("Introspect = %+v, %v, want %+v", granted, err, want)
			}
			set.Scope = granted.Scope
			next, err := w.client.Refresh(t.Context(), set)
			if err != nil || next.Scope != set.Scope || next.AccessToken == "" {
				t.Fatalf("Refresh = %v, %v", next, err)
			}
			if profile.RotateRefresh && !forgejo.Supersedes(next, set) || forgejo.Supersedes(set, next) && profile.RotateRefresh {
				t.Error("the refreshed set does not supersede the old one")
			}
			for name, err := range map[string]error{"Version": reach(t, w.client), "CheckClient": w.client.CheckClient(t.Context())} {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// reach asks the forge for its version.
func reach(t *testing.T, c *forgejo.Client) error {
	t.Helper()
	_, err := c.Version(t.Context())
	return err
}

func TestAuthCodeURL(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	u, err := url.Parse(w.client.AuthCodeURL("s", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"client_id": {w.App.ClientID}, "redirect_uri": {redirectURL}, "response_type": {"code"}, "state": {"s"},
		"scope": {strings.Join(forgejo.DefaultScopes, " ")}, "code_challenge_method": {"S256"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, // RFC 7636 appendix B
	}
	if got := u.Query().Encode(); got != want.Encode() {
		t.Errorf("query is\n%s\nwant\n%s", got, want.Encode())
	}
}

// An older grant with another scope stands: Forgejo ignores what is asked now.
func TestFirstScopeWins(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	u, err := url.Parse(w.client.AuthCodeURL("s", forgejo.NewVerifier()))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Del("scope")
	u.RawQuery = q.Encode()
	if _, err := loginclient.NewBrowser(nil, "alice", "alice-password").Authorize(t.Context(), u.String()); err != nil {
		t.Fatal(err)
	}
	granted, err := w.client.Introspect(t.Context(), w.login(t).AccessToken)
	if err != nil || granted.Scope != "" {
		t.Fatalf("Introspect = %+v, %v, want the first, empty scope", granted, err)
	}
	var e *forgejo.Error
	if err := w.client.VerifyScope(granted.Scope); !errors.As(err, &e) || e.Kind != forgejo.ScopeTooBroad {
		t.Errorf("VerifyScope = %v, want ScopeTooBroad", err)
	}
}

func TestCallbackError(t *testing.T) {
	w := newWorld(t, fakeforge.Config{})
	b := loginclient.NewBrowser(nil, "alice", "alice-password")
	b.Deny = true
	back, err := b.Authorize(t.Context(), w.client.AuthCodeURL("s", forgejo.NewVerifier()))
	if err != nil {
		t.Fatal(err)
	}
	if e := w.client.CallbackError(back.URL.Query().Get("error")); e.Kind != forgejo.Denied {
		t.Errorf("pressing Cancel gives %v", e)
	}
	for code, want := range map[string]forgejo.Kind{
		"server_error": forgejo.ScopeTooBroad, "temporarily_unavailable": forgejo.Down,
		"invalid_scope": forgejo.Misconfigured, "<script>": forgejo.Denied,
	} {
		if e := w.client.CallbackError(code); e.Kind != want || strings.Contains(e.Error(), "<") {
			t.Errorf("CallbackError(%q) = %v, want %v", code, e, want)
		}
	}
}

func TestPrivateCA(t *testing.T) {
	forge, err := fakeforge.New(fakeforge.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(forge)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	cfg := forgejo.Config{URL: server.URL, ClientID: "id", ClientSecret: "secret", RedirectURL: redirectURL}

	stranger, err := forgejo.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := reach(t, stranger); !errors.Is(err, model.ErrForgejoDown) || !strings.Contains(err.Error(), "FJMCP_BROKER_FORGEJO_CA_FILE") {
		t.Errorf("without the CA: %v", err)
	}
	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(cfg.CAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	friend, err := forgejo.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := reach(t, friend); err != nil {
		t.Errorf("with the CA: %v", err)
	}
}

func TestNewReportsEveryFault(t *testing.T) {
	_, err := forgejo.New(forgejo.Config{URL: "forge.example.org", Scopes: []string{"repo"}, CAFile: "/nonexistent/ca.pem"})
	if err == nil {
		t.Fatal("a wrong configuration was accepted")
	}
	for _, part := range []string{"want an absolute URL", "ca.pem", `"repo"`, "client id", "client secret", "redirect URL"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not tell of %s: %v", part, err)
		}
	}
}
