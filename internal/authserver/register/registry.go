package register

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store/clientid"
)

const maxBody = 64 << 10 // bytes

// Config is what a Registry needs. All fields but FetchKeys and Limit are required.
type Config struct {
	*site.Site
	FetchKeys bool // clients may name a jwks_uri
	Limit     *ratelimit.Limiter
}

// Registry serves the registration endpoint. It is safe for concurrent use.
type Registry struct {
	cfg Config

	mu   sync.Mutex
	told time.Time // when the operator was last told of a refusal
}

// New returns a Registry.
func New(cfg Config) *Registry { return &Registry{cfg: cfg} }

// Register is dynamic client registration (RFC 7591 §3). It is the one place that writes
// answers and maps errors.
func (g *Registry) Register(w http.ResponseWriter, r *http.Request) {
	if wait := g.cfg.Limit.Take(r, ""); wait > 0 {
		ratelimit.SetRetryAfter(w, wait)
		httpserver.WriteJSON(w, http.StatusTooManyRequests, oauth.Errorf(oauth.TemporarilyUnavailable, "too many registrations from your address; try again later"))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	made, err := g.register(r)
	var refused *oauth.Error
	switch {
	case err == nil:
		httpserver.WriteJSON(w, http.StatusCreated, made)
	case errors.As(err, &refused):
		g.tell(r.Context(), refused)
		httpserver.WriteJSON(w, refused.Status(), refused)
	default:
		g.cfg.Log.ErrorContext(r.Context(), "cannot register a client", "error", err)
		httpserver.WriteJSON(w, http.StatusServiceUnavailable, oauth.Errorf(oauth.TemporarilyUnavailable, "the server cannot answer at the moment; try again"))
	}
}

// tell has the operator know why a client is refused, who may be able to change it: once
// a minute at most, since anybody can send what is refused.
func (g *Registry) tell(ctx context.Context, refused *oauth.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.cfg.Now(); now.Sub(g.told) >= time.Minute {
		g.told = now
		g.cfg.Log.InfoContext(ctx, "refused to register a client", "error", refused)
	}
}

// register returns an *oauth.Error, or a failure of the store.
func (g *Registry) register(r *http.Request) (made oauth.RegistrationResponse, err error) {
	if err := httpserver.CheckHeaders(r); err != nil {
		return made, oauth.Errorf(oauth.InvalidRequest, "%v", err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return made, oauth.BodyError(err)
	}
	reg, refused := g.parse(body)
	if refused != nil {
		return made, refused
	}
	id, err := g.cfg.Store.ClientID(r.Context(), model.Client{
		Name: reg.ClientName, AuthMethod: reg.TokenEndpointAuthMethod, RedirectURIs: reg.RedirectURIs,
		GrantTypes: reg.Logins(), JWKS: string(reg.JWKS), JWKSURI: reg.JWKSURI, SigningAlg: reg.SigningAlg,
	})
	if errors.Is(err, clientid.ErrTooLarge) {
		return made, oauth.Errorf(oauth.InvalidClientMetadata, "%v", err)
	}
	if err != nil {
		return made, fmt.Errorf("cannot make a client id: %w", err)
	}
	reg.Scope = strings.Join(model.Scopes(g.cfg.Forgejo.MayWrite()), " ") // it is for each authorization request to ask for less
	made = oauth.RegistrationResponse{ClientID: id, ClientIDIssuedAt: g.cfg.Now().Unix(), Registration: reg}
	if oauth.HasSecret(reg.TokenEndpointAuthMethod) {
		made.ClientSecret, made.ClientSecretExpiresAt = g.cfg.Store.ClientSecret(id), new(int64) // 0: it does not expire
	}
	return made, nil
}

func (g *Registry) parse(body []byte) (oauth.Registration, *oauth.Error) {
	reg, refused := oauth.ParseRegistration(body, g.cfg.Schemes, g.cfg.DeviceGrant)
	switch {
	case refused != nil:
		return reg, refused
	case reg.JWKSURI != "" && !g.cfg.FetchKeys:
		return reg, oauth.Errorf(oauth.InvalidClientMetadata, "this server does not fetch keys; send them in jwks in place of jwks_uri")
	case reg.JWKS != nil:
		if _, err := clientmeta.ParseKeys(reg.JWKS); err != nil {
			return reg, oauth.Errorf(oauth.InvalidClientMetadata, "%v", err)
		}
	}
	return reg, nil
}
