package checks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/operator/checks"
	"github.com/fjmcp/fjmcp-broker/internal/operator/checks/outside"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// wants runs a check and wants that fault, "" for none, with a cure.
func wants(t *testing.T, c health.Check, fault health.Fault, warning bool, cause string) {
	t.Helper()
	err := c.Run(t.Context())
	if fault == "" {
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		return
	}
	var p *health.Problem
	if !errors.As(err, &p) || p.Fault != fault || p.Warning != warning || !strings.Contains(p.Cause, cause) || p.Fault.Cure() == "" {
		t.Errorf("%s: got %+v, want %s with %q", c.Name, err, fault, cause)
	}
}

func TestStore(t *testing.T) {
	wants(t, checks.Store(func(context.Context) error { return nil }), "", false, "")
	wants(t, checks.Store(func(context.Context) error { return errors.New("database or disk is full") }), health.StoreFails, false, "disk is full")
}

func TestClientDocuments(t *testing.T) {
	wants(t, checks.ClientDocuments(func(context.Context) error { return nil }), "", false, "")
	wants(t, checks.ClientDocuments(func(context.Context) error { return errors.New("network is unreachable") }), health.NoWayOut, true, "unreachable")
}

// The backend is looked at anew when what units are made of has changed, and when the
// launcher is back.
func TestStoreKey(t *testing.T) {
	found := func(n int, err error) health.Check {
		return checks.StoreKey(func(context.Context) (int, error) { return n, err })
	}
	wants(t, found(0, nil), "", false, "")
	wants(t, found(3, nil), health.StoreKeyMissing, true, "3 sealed values")
	wants(t, found(0, errors.New("database is locked")), health.StoreFails, false, "locked")
}

func TestLauncher(t *testing.T) {
	var made string
	var err error
	changes := 0
	c := checks.Launcher(func(context.Context) (string, error) { return made, err }, func() { changes++ })
	step := func(now string, fails error, want int) {
		t.Helper()
		made, err = now, fails
		if _ = c.Run(t.Context()); changes != want {
			t.Errorf("%q, %v: %d changes, want %d", now, fails, changes, want)
		}
	}
	step("a", nil, 0)
	step("a", nil, 0)
	step("b", nil, 1)
	step("", &launchclient.Error{Code: launchproto.CodeConfig, Message: "neither exists"}, 2)
	wants(t, c, health.BackendMissing, false, "neither exists")
	step("b", nil, 3)
	step("", errors.New("refused"), 4)
	wants(t, c, health.LauncherFails, false, "refused")
}

func TestAudit(t *testing.T) {
	wants(t, checks.Audit(func() error { return nil }), "", false, "")
	wants(t, checks.Audit(func() error { return errors.New("events cannot be written") }), health.AuditFails, true, "cannot be written")
	wants(t, checks.Audit(func() error { return fmt.Errorf("calls are refused, as %w", audit.ErrMute) }), health.AuditFails, false, "are refused")
}

func TestBackend(t *testing.T) {
	for reason, fault := range map[control.Reason]health.Fault{
		control.ReasonBackendMissing: health.BackendMissing, control.ReasonBackendNotExecutable: health.BackendNotExecutable,
		control.ReasonBackendTooOld: health.BackendTooOld, control.ReasonCrashed: health.BackendCrashes, control.ReasonInternal: health.SandboxFails,
		unit.ReasonTimeout: health.BackendHangs, unit.ReasonLauncher: health.LauncherFails, unit.ReasonProtocol: health.BackendStrange,
	} {
		fail := &session.StartError{Reason: reason, Detail: "it ended", LastLines: []string{"one", "two", "three", "four"}}
		wants(t, checks.Backend(func(context.Context) error { return fail }, time.Second), fault, false, "it ended; it said: two ⏎ three ⏎ four")
	}
	wants(t, checks.Backend(func(context.Context) error { return nil }, time.Second), "", false, "")
	for reason, want := range map[control.Reason]string{
		control.ReasonCrashed: checks.NameBackend, unit.ReasonTimeout: checks.NameBackend, control.ReasonForgeUnreachable: "", control.ReasonTokenRefused: "", "": "",
	} {
		if got := checks.AfterStart(reason); got != want {
			t.Errorf("after %q %q is looked at, want %q", reason, got, want)
		}
	}
}

// However long a session may take to start, one that does not is told as one that hangs.
func TestBackendThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const startTimeout = 5 * time.Minute
		h := health.New(health.Config{Now: time.Now, Log: slog.New(slog.DiscardHandler), Checks: []health.Check{checks.Backend(func(ctx context.Context) error {
			select {
			case <-time.After(startTimeout):
				return &session.StartError{Reason: unit.ReasonTimeout, Detail: "no answer"}
			case <-ctx.Done():
				return ctx.Err()
			}
		}, startTimeout)}})
		ctx, end := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); h.Run(ctx) }()
		time.Sleep(startTimeout + time.Second)
		if all := h.Look(ctx); all[0].Fault != health.BackendHangs {
			t.Errorf("got %+v", all)
		}
		end()
		<-over
	})
}

// A forge is well, gone, without the application, and with another secret.
func TestForge(t *testing.T) {
	const callback = "http://127.0.0.1/oauth/callback"
	forge := fakeforge.Start(t, fakeforge.Config{}, callback)
	var version string
	both := func(url, id, secret string) (f, a health.Check) {
		t.Helper()
		client, err := forgejo.New(forgejo.Config{URL: url, ClientID: id, ClientSecret: secret, RedirectURL: callback})
		if err != nil {
			t.Fatal(err)
		}
		return outside.Forge(client.Version, func(v string) { version = v }), outside.Application(client.CheckClient)
	}
	f, a := both(forge.URL, forge.App.ClientID, forge.App.ClientSecret)
	wants(t, f, "", false, "")
	wants(t, a, "", false, "")
	if version == "" {
		t.Error("the version is not told")
	}
	_, a = both(forge.URL, forge.App.ClientID, "wrong")
	wants(t, a, health.ApplicationUnknown, false, "forgejo-client-secret")
	_, a = both(forge.URL, "00000000-0000-0000-0000-000000000000", forge.App.ClientSecret)
	wants(t, a, health.ApplicationUnknown, false, "FJMCP_BROKER_FORGEJO_CLIENT_ID")
	f, a = both(forge.URL, forge.App.ClientID, forge.App.ClientSecret)
	wants(t, f, "", false, "") // and leaves no connection that a later look could use
	forge.Stop()
	wants(t, f, health.ForgeDown, false, "refused")
	wants(t, a, health.ForgeDown, true, "refused")
	if version != "" {
		t.Errorf("it is still said to be %s", version)
	}
	elsewhere := httptest.NewServer(http.RedirectHandler("https://git.example.org/", http.StatusMovedPermanently))
	defer elsewhere.Close()
	f, _ = both(elsewhere.URL, "id", "secret")
	wants(t, f, health.ForgeURLWrong, false, "redirect")
	another := httptest.NewServer(http.NotFoundHandler())
	defer another.Close()
	f, _ = both(another.URL, "id", "secret")
	wants(t, f, health.ForgeURLWrong, false, "nothing at this path")
}

func TestPublicURL(t *testing.T) {
	var answer func(w http.ResponseWriter, r *http.Request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer server.Close()
	issuer := func(of string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/.well-known/oauth-authorization-server/below" {
				http.NotFound(w, r)
				return
			}
			fmt.Fprintf(w, `{"issuer":%q}`, of)
		}
	}
	public := parse(t, server.URL+"/below")
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
	}
	for name, c := range map[string]struct {
		answer  func(http.ResponseWriter, *http.Request)
		fault   health.Fault
		warning bool
		cause   string
	}{
		"ours":          {issuer(public.String()), "", false, ""},
		"another's":     {issuer("https://mcp.example.org"), health.PublicURLWrong, false, "calls itself another name"},
		"no metadata":   {status(404), health.PublicURLWrong, false, "HTTP 404"},
		"no broker":     {status(502), health.PublicURLProxy, false, "502"},
		"a page":        {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<p>Welcome") }, health.PublicURLWrong, false, "not this broker"},
		"another place": {http.RedirectHandler("https://elsewhere.example/", http.StatusFound).ServeHTTP, health.PublicURLWrong, false, "HTTP 302"},
	} {
		answer = c.answer
		t.Run(name, func(t *testing.T) { wants(t, outside.PublicURL(public, nil), c.fault, c.warning, c.cause) })
	}
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		wants(t, outside.PublicURL(parse(t, "http://"+l.Addr().String()), nil), health.PublicURLSilent, true, "refused")
	})
	t.Run("an unknown certificate", func(t *testing.T) {
		secure := httptest.NewTLSServer(http.NotFoundHandler())
		defer secure.Close()
		wants(t, outside.PublicURL(parse(t, secure.URL), nil), health.PublicURLSilent, true, "certificate")
	})
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
