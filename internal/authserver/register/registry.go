package register

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/authserver/clientmeta"
	"github.com/fjmcp/fjmcp-broker/internal/authserver/site"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/httpserver"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/ratelimit"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

const (
	maxBody = 64 << 10 // bytes
	// maxUngranted is how many registrations are kept that no user has agreed to.
	maxUngranted = 5000
	fullWait     = 10 * time.Minute // of a client that finds no room
)

// Config is what a Registry needs. All fields but FetchKeys and Limit are required.
type Config struct {
	*site.Site
	FetchKeys bool // clients may name a jwks_uri
	Limit     *ratelimit.Limiter
}

// Registry serves the registration endpoint and the one of each registration.
// It is safe for concurrent use.
type Registry struct{ cfg Config }

// New returns a Registry.
func New(cfg Config) *Registry { return &Registry{cfg} }

// answer is what a handler says to a client; without a body it is 204.
type answer struct {
	status int
	body   any
}

// later refuses for now.
type later struct {
	wait time.Duration
	why  string
}

func (l *later) Error() string { return l.why }

// errNoToken says that a request does not carry the token of the registration it is
// about. It does not tell whether that exists.
var errNoToken = errors.New("the registration access token is not that of a registered client")

// serve is the one place that writes answers and maps errors.
func (g *Registry) serve(w http.ResponseWriter, r *http.Request, handle func(*http.Request) (answer, error)) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	a, err := handle(r)
	var refused *oauth.Error
	var busy *later
	switch {
	case err == nil && a.body == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
		return
	case err == nil:
	case errors.As(err, &busy):
		ratelimit.SetRetryAfter(w, busy.wait)
		a = answer{http.StatusTooManyRequests, oauth.Errorf(oauth.TemporarilyUnavailable, "%s", busy.why)}
	case errors.Is(err, errNoToken):
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		a = answer{http.StatusUnauthorized, oauth.Errorf("invalid_token", "%v", err)}
	case errors.As(err, &refused):
		a = answer{refused.Status(), refused}
	default:
		g.cfg.Log.ErrorContext(r.Context(), "cannot answer about a registration", "error", err)
		a = answer{http.StatusServiceUnavailable, oauth.Errorf(oauth.TemporarilyUnavailable, "the server cannot answer at the moment; try again")}
	}
	if a.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD, DELETE")
	}
	httpserver.WriteJSON(w, a.status, a.body)
}

// Register is dynamic client registration (RFC 7591 §3).
func (g *Registry) Register(w http.ResponseWriter, r *http.Request) { g.serve(w, r, g.register) }

func (g *Registry) register(r *http.Request) (answer, error) {
	if wait := g.cfg.Limit.Take(r, ""); wait > 0 {
		return answer{}, &later{wait, "too many registrations from your address; try again later"}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return answer{}, oauth.BodyError(err)
	}
	reg, refused := g.parse(body)
	if refused != nil {
		return answer{}, refused
	}
	client, secret, token := newClient(reg, g.cfg.Now())
	err = g.cfg.Store.RegisterClient(r.Context(), client, maxUngranted)
	if errors.Is(err, store.ErrFull) {
		g.cfg.Limit.Refused(r, "too many registrations that no user has agreed to")
		return answer{}, &later{fullWait, "too many clients have registered that no user has agreed to; try again later"}
	}
	if err != nil {
		return answer{}, fmt.Errorf("cannot store a client: %w", err)
	}
	g.event(r.Context(), audit.ClientRegistered, client, "")
	said := g.registration(client, token)
	if secret != "" {
		said.ClientSecret, said.ClientSecretExpiresAt = secret, new(int64) // 0: it does not expire
	}
	return answer{http.StatusCreated, said}, nil
}

func (g *Registry) parse(body []byte) (oauth.Registration, *oauth.Error) {
	reg, refused := oauth.ParseRegistration(body)
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

// newClient returns a client with its secret, if it has one, and its
// registration access token.
func newClient(reg oauth.Registration, now time.Time) (c model.Client, secret, token string) {
	token = model.NewToken(model.PrefixRegistration)
	c = model.Client{
		ID: model.NewID(), Kind: model.ClientRegistered, Name: reg.ClientName, AuthMethod: reg.TokenEndpointAuthMethod,
		RedirectURIs: reg.RedirectURIs, GrantTypes: reg.GrantTypes, URI: reg.ClientURI, CreatedAt: now,
		JWKS: string(reg.JWKS), JWKSURI: reg.JWKSURI, SigningAlg: reg.SigningAlg, RegistrationHash: model.Hash(token),
	}
	if c.AuthMethod != oauth.AuthNone && c.AuthMethod != oauth.AuthPrivateKey {
		secret = model.NewToken(model.PrefixClientSecret)
		c.SecretHash = model.Hash(secret)
	}
	return c, secret, token
}

// registration is a client as it is told about itself. Its secret is stored as
// a hash, so it is told only once.
func (g *Registry) registration(c model.Client, token string) oauth.RegistrationResponse {
	said := oauth.RegistrationResponse{
		ClientID: c.ID, ClientIDIssuedAt: c.CreatedAt.Unix(),
		RegistrationClientURI: g.cfg.Issuer + "/oauth/register/" + c.ID, RegistrationAccessToken: token,
		Registration: oauth.Registration{
			RedirectURIs: c.RedirectURIs, TokenEndpointAuthMethod: c.AuthMethod, GrantTypes: c.GrantTypes, ResponseTypes: []string{oauth.ResponseCode},
			ClientName: c.Name, ClientURI: c.URI, Scope: model.GrantedScope(""), JWKSURI: c.JWKSURI, SigningAlg: c.SigningAlg,
		},
	}
	if c.JWKS != "" {
		said.JWKS = []byte(c.JWKS)
	}
	return said
}

// Manage serves one registration (RFC 7592 §2); its path ends in the wildcard
// {client}. Without the right token it does not tell whether the client exists.
func (g *Registry) Manage(w http.ResponseWriter, r *http.Request) { g.serve(w, r, g.manage) }

func (g *Registry) manage(r *http.Request) (answer, error) {
	if wait := g.cfg.Limit.Take(r, ""); wait > 0 {
		return answer{}, &later{wait, "too many requests about registrations from your address; try again later"}
	}
	client, token, err := g.authorize(r)
	if err != nil {
		return answer{}, err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return answer{http.StatusOK, g.registration(client, token)}, nil
	case http.MethodDelete:
		return answer{}, g.remove(r.Context(), client)
	}
	return answer{http.StatusMethodNotAllowed, oauth.Errorf(oauth.InvalidRequest, "a registration cannot be changed, since users agreed to its redirect URIs; register again")}, nil
}

// authorize returns the client whose registration access token the request
// carries, and the token. Any other is errNoToken.
func (g *Registry) authorize(r *http.Request) (model.Client, string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") {
		return model.Client{}, "", errNoToken
	}
	client, err := g.cfg.Store.Client(r.Context(), r.PathValue("client"))
	if errors.Is(err, model.ErrNotFound) || err == nil && !model.EqualHash(token, client.RegistrationHash) {
		err = errNoToken
	}
	return client, token, err
}

// remove ends a client, its grants and their sessions.
func (g *Registry) remove(ctx context.Context, c model.Client) error {
	grants, err := g.cfg.Store.DeleteClient(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("cannot delete a client: %w", err)
	}
	for _, id := range grants {
		g.cfg.Revoked(ctx, id)
	}
	g.event(ctx, audit.ClientRemoved, c, " by itself")
	return nil
}

func (g *Registry) event(ctx context.Context, kind audit.Kind, c model.Client, how string) {
	g.cfg.Audit.Event(ctx, audit.Event{Kind: kind, Client: oauth.ClientName(c), Outcome: "ok", Detail: c.ID + how})
}
