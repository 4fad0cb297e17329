package authorize

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientauth"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// Config is what a Handler needs. All fields but the limiters are required.
type Config struct {
	Issuer    string   // public URL of the server, without trailing slash
	Resources []string // endpoint URLs a client may ask for (RFC 8707)
	Clients   *clientauth.Clients
	Store     *store.Store
	Forgejo   *forgejo.Client
	Tokens    *tokens.Tokens
	Audit     *audit.Logger
	Log       *slog.Logger
	Now       func() time.Time
	// Authorizations limits consent pages, Logins the answers to them and logins
	// to the account page.
	Authorizations, Logins *ratelimit.Limiter
	// SignedIn answers the callback of a login to the account page.
	SignedIn func(http.ResponseWriter, *http.Request, model.User)
}

// Handler serves the authorization endpoint and the callback. It is safe for
// concurrent use.
type Handler struct {
	cfg    Config
	holder string // of leases
}

// New returns a Handler.
func New(cfg Config) *Handler { return &Handler{cfg: cfg, holder: rand.Text()} }

// secure reports whether browsers reach the server over https.
func (h *Handler) secure() bool { return strings.HasPrefix(h.cfg.Issuer, "https:") }

// forgeHost names the forge for people.
func (h *Handler) forgeHost() string {
	_, host, _ := strings.Cut(h.cfg.Forgejo.Origin(), "://")
	return host
}

func (h *Handler) event(ctx context.Context, e audit.Event) { h.cfg.Audit.Event(ctx, e) }
