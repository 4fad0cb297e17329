// Package forgejo is the OAuth client that logs people in at a Forgejo (or
// Gitea): authorization URL, code exchange, refresh, identity, introspection of
// the granted scope, and what every kind of failure there means.
//
// Forgejo's ways differ from the RFCs and between its versions. Decisions are
// made on HTTP status and on the `error` code only, never on message text; the
// table is at classifyRefresh and classifyExchange.
//
// It keeps no state of its own.
package forgejo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
)

const (
	requestTimeout = 10 * time.Second // whole exchange, connection to last byte
	dialTimeout    = 5 * time.Second
	maxBody        = 1 << 20 // bytes read of any answer; x/oauth2 has the same limit
)

// Config says which Forgejo and as which OAuth application.
type Config struct {
	URL          string           // the forge's public URL, http or https, optional path
	ClientID     string           // of a confidential application
	ClientSecret string           // never printed
	Scopes       []string         // empty means DefaultScopes
	CAFile       string           // PEM certificates trusted besides the system's; optional
	Socket       string           // unix socket that leads to the forge; "" to connect to URL
	Plaintext    bool             // no TLS is spoken over Socket, whatever URL says
	RedirectURL  string           // exactly as registered at Forgejo
	Now          func() time.Time // nil means time.Now
	// Misconfigured is told when Forgejo refuses the application, its secret or the URL, in
	// whatever was tried but CheckClient. It must not wait. Optional.
	Misconfigured func()
	// Around makes what all requests go through of what sends them. Optional.
	Around func(http.RoundTripper) http.RoundTripper
}

// Client talks to one Forgejo as one OAuth application. It is safe for
// concurrent use.
type Client struct {
	base  *url.URL
	oauth oauth2.Config
	scope string
	http  *http.Client
	fresh *http.Client // each request on a connection of its own
	now   func() time.Time

	misconfigured func()
}

// New checks cfg and returns a Client. It makes no connection. The error lists
// every fault.
func New(cfg Config) (*Client, error) {
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = DefaultScopes
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	base, urlErr := forge.ParseURL(cfg.URL)
	if urlErr != nil {
		urlErr = fmt.Errorf("cannot use the forge's URL: %w", urlErr)
	}
	pool, caErr := forge.Roots(cfg.CAFile)
	err := errors.Join(urlErr, caErr, ValidateScopes(cfg.Scopes),
		required("client id", cfg.ClientID), required("client secret", cfg.ClientSecret), required("redirect URL", cfg.RedirectURL))
	if err != nil {
		return nil, err
	}
	if cfg.Misconfigured == nil {
		cfg.Misconfigured = func() {}
	}
	if cfg.Around == nil {
		cfg.Around = func(sender http.RoundTripper) http.RoundTripper { return sender }
	}
	fresh := newTransport(cfg, pool)
	fresh.DisableKeepAlives = true
	return &Client{
		base:  base,
		scope: strings.Join(cfg.Scopes, " "),
		http:  newHTTPClient(cfg.Around(newTransport(cfg, pool))),
		fresh: newHTTPClient(cfg.Around(fresh)),
		now:   cfg.Now,

		misconfigured: cfg.Misconfigured,
		oauth: oauth2.Config{
			ClientID:     cfg.ClientID,
			ClientSecret: cfg.ClientSecret,
			RedirectURL:  cfg.RedirectURL,
			Scopes:       cfg.Scopes,
			Endpoint: oauth2.Endpoint{
				AuthURL:   base.JoinPath("login/oauth/authorize").String(),
				TokenURL:  base.JoinPath("login/oauth/access_token").String(),
				AuthStyle: oauth2.AuthStyleInParams,
			},
		},
	}, nil
}

func required(what, value string) error {
	if value == "" {
		return fmt.Errorf("cannot log in at forgejo without a %s", what)
	}
	return nil
}

// newHTTPClient returns a client that follows no redirect: every call carries a
// secret or a token, which must not go to wherever an answer points.
func newHTTPClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     transport,
	}
}

func newTransport(cfg Config, pool *x509.CertPool) *http.Transport {
	dialer := &localhost.Dialer{Dialer: net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}}
	dial := dialer.DialContext
	if cfg.Socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", cfg.Socket)
		}
	}
	var dialTLS func(ctx context.Context, network, address string) (net.Conn, error)
	if cfg.Plaintext {
		dialTLS = dial
	}
	return &http.Transport{
		DialContext:            dial,
		DialTLSContext:         dialTLS,
		TLSClientConfig:        &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  requestTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           8,
		IdleConnTimeout:        60 * time.Second,
		ForceAttemptHTTP2:      true,
	}
}

// Origin returns scheme, host and port of the forge, without a path.
func (c *Client) Origin() string { return c.base.Scheme + "://" + c.base.Host }

// URL is the forge's front page.
func (c *Client) URL() string { return c.base.String() }

// Scope returns the space-separated scope the client asks for.
func (c *Client) Scope() string { return c.scope }

// ApplicationsURL is Forgejo's page where a user revokes this application.
func (c *Client) ApplicationsURL() string {
	return c.base.JoinPath("user/settings/applications").String()
}

// AuthCodeURL returns where to send the browser (RFC 6749 §4.1.1). state and
// verifier (RFC 7636, see NewVerifier) are the caller's, fresh for every login.
func (c *Client) AuthCodeURL(state, verifier string) string {
	return c.oauth.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// NewVerifier returns a fresh PKCE verifier with 256 bits of randomness.
func NewVerifier() string { return oauth2.GenerateVerifier() }
