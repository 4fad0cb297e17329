package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/systemd"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/gateway"
	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/operator"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/checks"
	"github.com/fjmcp/fjmcp-broker/internal/operator/checks/outside"
	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/operator/metrics"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	forgeurl "github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
)

const (
	launcherSocket = "/run/fjmcp-private/launcher.sock"
	// limitsTimeout is for a launcher that has to be started first.
	limitsTimeout = 5 * time.Second
)

// server is the assembled broker.
type server struct {
	log      *slog.Logger
	audit    *audit.Logger
	sockets  map[string][]net.Listener
	kept     map[string][]*os.File // descriptors of the process before
	metrics  *metrics.Metrics      // nil where nobody can scrape
	store    *store.Store
	tokens   *tokens.Tokens
	rights   *rights.Rights
	launcher launchclient.Launcher
	sessions *session.Manager
	auth     *authserver.Server
	mcp      *gateway.Handler
	handler  http.Handler
	health   *health.Health
	operator *operator.Operator
}

// assemble makes the parts of a broker and opens its database. Nothing listens yet.
func assemble(ctx context.Context, cfg *config.Config, passed systemd.Passed, events *audit.Logger, log *slog.Logger) (*server, error) {
	s := &server{log: log, audit: events, sockets: passed.Sockets, kept: passed.Stored}
	if err := s.assemble(ctx, cfg); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

func (s *server) assemble(ctx context.Context, cfg *config.Config) error {
	log, events := s.log, s.audit
	if cfg.AuditRequired {
		events.Require()
	}
	s.metrics = s.newMetrics(cfg)
	s.metrics.Audit(events)
	keys, err := seal.NewKeyring(cfg.StoreKey, cfg.StoreKeysOld...)
	if err != nil {
		return err
	}
	path := filepath.Join(cfg.StateDir, "fjmcp.db")
	s.store, err = store.Open(ctx, store.Options{Path: path, Keys: keys, Timed: s.metrics.Store()})
	switch {
	case errors.Is(err, sealed.ErrWrongKey):
		return cfg.WrongStoreKey(path)
	case err != nil:
		return err
	}
	if cfg.ForgeCanBeReplaced() {
		cure := "; have the forge listen on a unix socket and set FJMCP_BROKER_FORGEJO_SOCKET"
		if cfg.Launcher == config.LauncherSystemd { // the other has no way to look who listens
			cure += ", or name its user in FJMCP_BROKER_FORGEJO_USER"
		}
		log.Warn("while the forge is stopped, any local user can listen on its port and is sent the users' tokens"+cure, "forge", cfg.ForgejoURL.String())
	}
	roots, err := forgeurl.Roots(cfg.ForgejoCAFile)
	if err != nil {
		return err
	}
	socket, plaintext := cfg.ForgeWay()
	forge, err := forgejo.New(forgejo.Config{
		Misconfigured: func() { s.health.Again(outside.NameApplication) },
		Around:        s.metrics.Forge,
		Socket:        socket, Plaintext: plaintext,
		URL: cfg.ForgejoURL.String(), ClientID: cfg.ForgejoClientID, ClientSecret: cfg.ForgejoClientSecret,
		Scopes: cfg.ForgejoScopes, CAFile: cfg.ForgejoCAFile, RedirectURL: authserver.CallbackURL(cfg.PublicURL),
	})
	if err != nil {
		return err
	}
	s.tokens, err = tokens.New(tokens.Config{Store: s.store, Forgejo: forge, Log: log, Audit: events, Refreshed: s.metrics.Refreshed()})
	if err != nil {
		return err
	}
	if err := s.tokens.CheckScopes(ctx); err != nil {
		return err
	}
	s.rights = rights.New(rights.Config{Store: s.store, Forgejo: forge, Tokens: s.tokens, Audit: events, Log: log})
	if s.launcher, err = newLauncher(cfg, log); err != nil {
		return err
	}
	if err := checkLimits(ctx, s.launcher); err != nil {
		return err
	}
	s.sessions = session.New(session.Config{
		Config: unit.Config{
			Launcher: s.launcher, Tokens: s.tokens, Log: log, Now: time.Now, Keeper: keeper(cfg),
			IdleTimeout: cfg.SessionIdleTimeout, StartTimeout: cfg.StartTimeout,
		},
		Store: s.store, Audit: events, Rights: s.rights, MaxAge: cfg.SessionMaxAge, PerUser: cfg.SessionsPerUser, Max: cfg.SessionsMax,
		StartFailed: func(why control.Reason) { s.health.Again(checks.AfterStart(why)) },
	})
	var forgejoVersion atomic.Value
	forgejoVersion.Store("")
	looks := []health.Check{
		checks.Store(s.store.Check),
		checks.StoreKey(func(ctx context.Context) (int, error) {
			sum, err := s.store.Summary(ctx)
			return sum.Unreadable, err
		}),
		checks.Launcher(s.launcher.Check, func() { s.health.Again(checks.NameBackend) }),
		checks.Audit(s.audit.Check),
		checks.Policy(func(ctx context.Context) error { return s.operator.LookAtPolicy(ctx) }),
		checks.Backend(s.sessions.Probe, cfg.StartTimeout),
		outside.Forge(forge.Version, func(v string) { forgejoVersion.Store(v) }),
		outside.Application(forge.CheckClient),
		outside.PublicURL(cfg.PublicURL, roots),
	}
	var documents *clientmeta.Fetcher // nil where nothing may be fetched on behalf of clients
	if cfg.ClientDocuments {
		documents = clientmeta.New(clientmeta.Config{
			Log: log, Schemes: cfg.RedirectSchemes, DeviceGrant: cfg.DeviceGrant, Proxy: cfg.ClientProxy, Lost: func() { s.health.Again(checks.NameDocuments) },
		})
		looks = append(looks, checks.ClientDocuments(documents.CheckWay))
	}
	s.health = health.New(health.Config{Log: log, Now: time.Now, Checks: looks, Systemd: cfg.Launcher == config.LauncherSystemd})
	addresses := &ratelimit.Addresses{Trusted: cfg.TrustedProxies, Log: log}
	s.operator = operator.New(operator.Config{
		Settings: cfg, Rights: s.rights, PolicyLoaded: s.metrics.Rules, Sessions: s.sessions, Store: s.store, Keys: keys, Health: s.health, Audit: events, Log: log,
		Now: time.Now, Revoked: s.endGrant, Believed: addresses.Believed, ForgejoVersion: func() string { return forgejoVersion.Load().(string) },
	})
	s.auth = authserver.New(authserver.Config{
		Site:      site.Site{Name: cfg.SiteName, Store: s.store, Forgejo: forge, Tokens: s.tokens, Rights: s.rights, Audit: events, Log: log, Now: time.Now, Revoked: s.endGrant, Schemes: cfg.RedirectSchemes, DeviceGrant: cfg.DeviceGrant},
		PublicURL: cfg.PublicURL, AccessTTL: cfg.AccessTokenTTL, RefreshTTL: cfg.RefreshTokenTTL, Documents: documents,
		Addresses: addresses, Redeemed: s.sessions.Prestart, Running: s.sessions.Running,
	})
	mux := http.NewServeMux()
	s.auth.Routes(mux)
	s.mcp = gateway.New(gateway.Config{
		PublicURL: cfg.PublicURL, AllowedOrigins: cfg.AllowedOrigins, Auth: s.auth, Sessions: s.sessions, Rights: s.rights, Keys: keys, Audit: events, Log: log,
		FailedBearers:  ratelimit.New(ratelimit.Config{Rule: ratelimit.Bearer, Addresses: addresses, Audit: events, Now: time.Now}),
		Calls:          ratelimit.NewUsers(cfg.CallsPerMinute, time.Now),
		RequestTimeout: cfg.RequestTimeout,
	})
	s.mcp.Routes(mux)
	s.health.Routes(mux)
	s.operator.Routes(mux)
	s.handler = addresses.Audited(s.metrics.Requests(s.forPeople(mux)))
	s.metrics.Attend(metrics.Sources{
		Sessions: s.sessions, SessionsMax: cfg.SessionsMax, PerUser: cfg.SessionsPerUser,
		Store: s.store, StateDir: cfg.StateDir, Health: s.health, Audit: events, Policy: s.operator.PolicyStatus,
	})
	return s.operator.StartPolicy(ctx)
}

// forPeople has mux tell browsers of errors by pages. What is wrong with health is told by
// its JSON alone.
func (s *server) forPeople(mux *http.ServeMux) http.Handler {
	pages := s.auth.Pages(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if health.Asks(r) {
			mux.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// release closes what assemble has opened.
func (s *server) release() {
	s.rights.Close()
	if s.launcher != nil {
		_ = s.launcher.Close()
	}
	if s.store != nil {
		_ = s.store.Close()
	}
}

// keeper is nil where sessions end with the broker.
func keeper(cfg *config.Config) unit.Keeper {
	if cfg.Launcher != config.LauncherSystemd || os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return systemd.Store{}
}

// endGrant ends the sessions of a revoked grant, also when the request that
// revoked it is over.
func (s *server) endGrant(ctx context.Context, grantID string) {
	if err := s.sessions.EndGrant(context.WithoutCancel(ctx), grantID); err != nil {
		s.log.Error("cannot end the sessions of a revoked grant; they end by their idle time", "error", err)
	}
}

// listen opens the sockets that the service manager did not pass, in a state directory
// that exists.
func (s *server) listen(cfg *config.Config) error {
	s.listenMetrics(cfg)
	if len(s.sockets["http"]) > 0 {
		return nil
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on FJMCP_BROKER_LISTEN=%s: %w", cfg.Listen, err)
	}
	a, err := admin.Listen(filepath.Join(cfg.StateDir, "admin.sock"))
	if err != nil {
		return err
	}
	s.sockets["http"], s.sockets["admin"] = []net.Listener{l}, []net.Listener{a}
	s.log.Info("listening", "address", l.Addr().String(), "clients connect to", cfg.PublicURL.String()+"/mcp", "admin socket", a.Addr().String())
	return nil
}

func newLauncher(cfg *config.Config, log *slog.Logger) (launchclient.Launcher, error) {
	if cfg.Launcher == config.LauncherSystemd {
		return launchclient.NewSystemd(launcherSocket, cfg.SessionsMax), nil
	}
	binary, err := sessionBinary()
	if err != nil {
		return nil, err
	}
	return launchclient.NewProcess(launchclient.ProcessConfig{
		SessionBinary: binary, ForgejoSocket: cfg.ForgejoSocket, ForgejoURL: cfg.ForgejoURL.String(), ForgejoMCP: cfg.ForgejoMCP, CAFile: cfg.ForgejoCAFile,
		Routes: cfg.Routes.String(), Now: time.Now, Log: log,
	})
}

// checkLimits returns a *config.Error where the launcher says that not so many sessions
// can live as are configured. What else it says, if it answers, health tells.
func checkLimits(ctx context.Context, l launchclient.Launcher) error {
	ctx, cancel := context.WithTimeout(ctx, limitsTimeout)
	defer cancel()
	var e *launchclient.LimitsError
	if _, err := l.Check(ctx); !errors.As(err, &e) {
		return nil
	}
	var faults []string
	for _, fault := range e.Faults {
		faults = append(faults, "FJMCP_BROKER_SESSIONS_MAX: "+fault)
	}
	return &config.Error{Faults: faults}
}

// sessionBinary finds fjmcp-session beside this program or where the package
// installs it.
func sessionBinary() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, path := range []string{filepath.Join(filepath.Dir(self), "fjmcp-session"), "/usr/libexec/fjmcp/fjmcp-session"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("cannot find the program fjmcp-session beside %s or in /usr/libexec/fjmcp", self)
}
