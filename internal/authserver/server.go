// Package authserver is the OAuth 2.1 authorization server: metadata,
// registration, tokens, revocation, and the bearer check for the resource
// server. Whoever gets past it acts as a user at the forge.
//
// All URLs are made from the public URL, never from a request's Host.
//
// Access tokens are checked without asking the database for each request
// (AccessCache). A revocation is seen at once when this process made it, and
// within AccessMaxAge when another process that shares the database did.
package authserver

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/authorize"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientauth"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/front"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/register"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// Config is what a Server needs. All fields but Issuer, which is made here, Name,
// Documents, Addresses, Redeemed and Running are required.
type Config struct {
	site.Site
	PublicURL  *url.URL      // origin and optional path prefix, no trailing slash
	AccessTTL  time.Duration // at least a second
	RefreshTTL time.Duration // at least AccessTTL
	// Documents reads what clients publish about themselves. Without it a client
	// must register, and send its keys.
	Documents *clientmeta.Fetcher
	// Addresses tells where requests come from; without it no proxy is believed
	// but one on a unix socket.
	Addresses *ratelimit.Addresses
	// Redeemed, if set, is told of every login that a client has completed, before the
	// client is. It must not wait.
	Redeemed func(access model.Access)
	// Running, if set, counts the running sessions between a user and a client,
	// and tells when one was last used.
	Running func(userID, clientID string) (n int, lastUsed time.Time)
}

// Server is the authorization server. It is safe for concurrent use.
type Server struct {
	cfg       Config
	clients   *clientauth.Clients
	registry  *register.Registry
	login     *authorize.Handler
	door      *front.Door
	access    *AccessCache
	failed    *ratelimit.Limiter // requests to the token endpoint
	devices   *ratelimit.Limiter // requests of devices
	addresses *ratelimit.Addresses
	prefix    string // path of the public URL, "" or "/x"
}

// New returns a Server.
func New(cfg Config) *Server {
	given := cfg.Name
	cfg.Issuer, cfg.Name = issuer(cfg.PublicURL), cmp.Or(given, cfg.PublicURL.Host)
	addresses := cmp.Or(cfg.Addresses, &ratelimit.Addresses{Log: cfg.Log})
	limit := func(rule ratelimit.Rule) *ratelimit.Limiter {
		return ratelimit.New(ratelimit.Config{Rule: rule, Addresses: addresses, Audit: cfg.Audit, Now: cfg.Now})
	}
	s := &Server{
		cfg: cfg, prefix: strings.TrimRight(cfg.PublicURL.Path, "/"), access: NewAccessCache(cfg.Store, cfg.Now), addresses: addresses,
		failed: limit(ratelimit.Token), devices: limit(ratelimit.Device),
	}
	s.clients = clientauth.New(clientauth.Config{Store: cfg.Store, Documents: cfg.Documents, Audiences: s.audiences(), Now: cfg.Now})
	shared := &s.cfg.Site
	s.door = front.New(shared, given)
	s.registry = register.New(register.Config{Site: shared, FetchKeys: cfg.Documents != nil, Limit: limit(ratelimit.Register)})
	s.login = authorize.New(authorize.Config{
		Site: shared, Clients: s.clients, Addresses: addresses,
		Authorizations: limit(ratelimit.Authorize), Logins: limit(ratelimit.Login), UserCodes: limit(ratelimit.DeviceCode), Running: cfg.Running,
	})
	return s
}

const pathDevice = "/oauth/device_authorization" // below the public URL

func issuer(public *url.URL) string { return strings.TrimRight(public.String(), "/") }

// CallbackURL is the redirect URI to register at Forgejo.
func CallbackURL(public *url.URL) string { return issuer(public) + oauth.PathCallback }

// audiences lists what a client may address its assertions to (RFC 7523 §3).
func (s *Server) audiences() []string {
	list := []string{s.cfg.Issuer, s.cfg.Issuer + "/", s.cfg.Issuer + "/oauth/token"}
	if s.cfg.DeviceGrant {
		list = append(list, s.cfg.Issuer+pathDevice)
	}
	if s.prefix == "" {
		list = append(list, s.cfg.Issuer+"/token")
	}
	return list
}

// Routes registers the server's endpoints, the well-known documents and, where
// the public URL has no path prefix, the default paths that old clients assume.
// With a prefix the host may be someone else's, so nothing but well-knowns is
// outside it.
func (s *Server) Routes(mux *http.ServeMux) {
	s.wellKnown(mux)
	s.door.Routes(mux, s.prefix)
	register := httpserver.CORS(s.registry.Register, http.MethodPost)
	token := httpserver.CORS(s.endpoint(s.token), http.MethodPost)
	mux.Handle(s.prefix+"/oauth/register", register)
	mux.Handle(s.prefix+"/oauth/token", token)
	mux.HandleFunc("POST "+s.prefix+"/oauth/introspect", s.endpoint(s.introspect))
	mux.Handle(s.prefix+"/oauth/revoke", httpserver.CORS(s.endpoint(s.revoke), http.MethodPost))
	mux.Handle(s.prefix+"/oauth/jwks", httpserver.CORS(s.jwks, http.MethodGet))
	if s.cfg.DeviceGrant {
		mux.Handle(s.prefix+pathDevice, httpserver.CORS(s.form(s.authorizeDevice), http.MethodPost))
	}
	s.login.Routes(mux, s.prefix)
	if s.prefix == "" {
		mux.Handle("/register", register)
		mux.Handle("/token", token)
		s.login.Authorize(mux, "/authorize")
	}
}

// Pages has next, which serves all of Routes, tell people by pages what it tells programs
// by a status.
func (s *Server) Pages(next http.Handler) http.Handler { return front.Pages(next, s.cfg.Frame()) }

// Tidy continues with logins that were cut off. Call it at start and now and then.
func (s *Server) Tidy(ctx context.Context) error { return s.login.Unfinished(ctx) }
