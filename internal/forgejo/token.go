package forgejo

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// Exchange redeems an authorization code (RFC 6749 §4.1.3) with its PKCE
// verifier. Errors are *Error: Denied, Misconfigured or Down.
func (c *Client) Exchange(ctx context.Context, code, verifier string) (model.ForgejoTokens, error) {
	const op = "complete the login"
	token, err := c.oauth.Exchange(c.context(ctx), code, oauth2.VerifierOption(verifier))
	if err == nil {
		return c.tokens(token), nil
	}
	e := tokenError(op, err, classifyExchange)
	if e.Kind == Denied && e.Code == "unauthorized_client" {
		// The same code stands for a wrong secret; only a refresh tells.
		var probe *Error
		if errors.As(c.CheckClient(ctx), &probe) && probe.Kind == Misconfigured {
			e.Kind, e.Detail = Misconfigured, probe.Detail
		}
	}
	return model.ForgejoTokens{}, c.noted(e)
}

// Refresh asks for a new token set (RFC 6749 §6). Where Forgejo rotates refresh
// tokens, its default, set is dead from then on: the caller persists the result
// before using it. The scope is carried over. Errors are *Error: GrantDead,
// Misconfigured or Down.
func (c *Client) Refresh(ctx context.Context, set model.ForgejoTokens) (model.ForgejoTokens, error) {
	const op = "refresh the login"
	if set.RefreshToken == "" {
		return model.ForgejoTokens{}, &Error{Kind: GrantDead, Op: op, Detail: "there is no refresh token"}
	}
	token, err := c.refresh(ctx, set.RefreshToken)
	if err != nil {
		return model.ForgejoTokens{}, c.noted(tokenError(op, err, classifyRefresh))
	}
	next := c.tokens(token)
	next.Scope = set.Scope
	return next, nil
}

// noted returns e, of which Config.Misconfigured may have to know.
func (c *Client) noted(e *Error) *Error {
	if e.Kind == Misconfigured {
		c.misconfigured()
	}
	return e
}

func (c *Client) refresh(ctx context.Context, refreshToken string) (*oauth2.Token, error) {
	return c.oauth.TokenSource(c.context(ctx), &oauth2.Token{RefreshToken: refreshToken}).Token()
}

// CheckClient asks whether Forgejo knows the application and its secret, by a
// refresh with a token that cannot exist: Forgejo checks the client first and
// answers invalid_client, or unauthorized_client for the token when the client
// is right. It returns nil or an *Error, Misconfigured or Down. The check makes
// Forgejo hash the secret, so it is for starts and for failed logins, not for
// every health probe.
func (c *Client) CheckClient(ctx context.Context) error {
	_, err := c.refresh(ctx, "fjmcp-client-check")
	if err == nil {
		return nil
	}
	if e := tokenError("check the OAuth application", err, classifyRefresh); e.Kind != GrantDead {
		return e
	}
	return nil
}

func (c *Client) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.http)
}

// defaultLifetime is assumed where the answer lacks expires_in; RFC 6749 §5.1
// only recommends it. It is short, so that at worst we refresh too often.
const defaultLifetime = 10 * time.Minute

func (c *Client) tokens(t *oauth2.Token) model.ForgejoTokens {
	lifetime := time.Duration(t.ExpiresIn) * time.Second
	if t.ExpiresIn <= 0 || t.ExpiresIn > 10*365*24*3600 {
		lifetime = defaultLifetime
	}
	return model.ForgejoTokens{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, ExpiresAt: c.now().Add(lifetime)}
}

// classifyRefresh reads the error code of a refused refresh. invalid_request is
// Forgejo's code for its own failures, such as a database that does not answer.
func classifyRefresh(code string) (Kind, string) {
	switch code {
	case "invalid_grant":
		return GrantDead, "the grant was revoked, the user deleted, or the token belongs to another application"
	case "unauthorized_client":
		return GrantDead, "the refresh token was already used or has expired"
	}
	return classifyClient(code)
}

// classifyExchange reads the error code of a refused code. unauthorized_client
// stands for a used or unknown code, a wrong redirect URI, a wrong verifier and
// a wrong secret alike.
func classifyExchange(code string) (Kind, string) {
	switch code {
	case "invalid_grant":
		return Denied, "the code has expired"
	case "unauthorized_client":
		return Denied, "the code is unknown or was already used, or the redirect URI or the verifier does not match"
	}
	return classifyClient(code)
}

func classifyClient(code string) (Kind, string) {
	switch code {
	case "invalid_client":
		return Misconfigured, "forgejo does not know the OAuth application or its secret: compare FJMCP_BROKER_FORGEJO_CLIENT_ID " +
			"and the credential forgejo-client-secret with the application in forgejo's settings"
	case "unsupported_grant_type", "unsupported_response_type", "invalid_scope":
		return Misconfigured, "forgejo does not support this request: check that FJMCP_BROKER_FORGEJO_URL is a Forgejo or Gitea " +
			"with [oauth2] ENABLED = true"
	}
	return Down, "forgejo could not handle the request"
}

// tokenError classifies what x/oauth2 returned. Nothing of the answer's body is
// kept: it may hold tokens.
func tokenError(op string, err error, classify func(string) (Kind, string)) *Error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return transportError(op, err)
	}
	status := refused.Response.StatusCode
	if refused.ErrorCode == "" || status >= 500 || status == http.StatusTooManyRequests || !plainCode(refused.ErrorCode) {
		return statusError(op, status)
	}
	kind, detail := classify(refused.ErrorCode)
	return &Error{Kind: kind, Op: op, Status: status, Code: refused.ErrorCode, Detail: detail}
}

// plainCode reports whether code looks like an error code of RFC 6749, so that
// it is fit for a log.
func plainCode(code string) bool {
	for _, r := range code {
		if (r < 'a' || r > 'z') && r != '_' {
			return false
		}
	}
	return len(code) <= 64
}

// statusError is an answer without a usable error code.
func statusError(op string, status int) *Error {
	e := &Error{Kind: Down, Op: op, Status: status, Detail: "the answer is not what forgejo sends here"}
	switch {
	case status >= 300 && status < 400:
		e.Kind, e.Detail = Misconfigured, "the answer is a redirect, which is not followed: set FJMCP_BROKER_FORGEJO_URL to the forge's final public URL"
	case status == http.StatusNotFound:
		e.Detail = "there is nothing at this path: check FJMCP_BROKER_FORGEJO_URL and that forgejo has [oauth2] ENABLED = true"
	case status >= 500:
		e.Detail = "the server or a proxy before it failed"
	}
	return e
}

// transportError is a request that got no answer, or a 200 that is not JSON.
// x/oauth2 reports the latter without a type.
func transportError(op string, err error) *Error {
	var unknownCA x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var lookup *net.DNSError
	detail := "no usable answer came: " + rootMessage(err)
	switch {
	case errors.As(err, &unknownCA):
		detail = "the certificate is signed by an unknown authority: name its CA in FJMCP_BROKER_FORGEJO_CA_FILE"
	case errors.As(err, &hostname):
		detail = "the certificate is for another host name"
	case errors.As(err, &lookup):
		detail = "the name " + lookup.Name + " cannot be resolved: " + rootMessage(lookup)
	case errors.Is(err, context.DeadlineExceeded):
		detail = "no answer came in time"
	}
	return &Error{Kind: Down, Op: op, Detail: detail, cause: err}
}

// rootMessage is the innermost error's text: an outer *url.Error repeats the
// URL.
func rootMessage(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
