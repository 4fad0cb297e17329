package forgejo

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Identity is who a token belongs to. Subject is stable; Name may change.
type Identity struct {
	Subject string // `sub` of userinfo, the account's number as a string
	Name    string // login name
}

// Identity asks userinfo (OpenID Connect Core §5.3) whose token this is. Errors
// are *Error: Suspended, Denied (the token is not accepted), Misconfigured or
// Down.
func (c *Client) Identity(ctx context.Context, accessToken string) (Identity, error) {
	const op = "read the user's identity"
	r, err := c.ask(ctx, op, "login/oauth/userinfo", accessToken, nil)
	if err != nil {
		return Identity{}, err
	}
	switch {
	case r.status == http.StatusUnauthorized:
		return Identity{}, &Error{Kind: Denied, Op: op, Status: r.status, Detail: "the access token is not accepted"}
	case r.status == http.StatusForbidden:
		return Identity{}, suspended(op, r.status)
	case r.status == http.StatusOK && !r.json:
		return Identity{}, c.suspendedOrDown(ctx, op, accessToken)
	}
	var info struct {
		Sub               string `json:"sub"`
		PreferredUsername string `json:"preferred_username"`
	}
	if !r.decode(&info) || info.Sub == "" {
		return Identity{}, statusError(op, r.status)
	}
	return Identity{Subject: info.Sub, Name: info.PreferredUsername}, nil
}

// suspendedOrDown tells a suspended account from a page some proxy put up: both
// answer userinfo with 200 and HTML, but for a suspended account the API
// answers 403 on every path.
func (c *Client) suspendedOrDown(ctx context.Context, op, accessToken string) error {
	r, err := c.ask(ctx, op, "api/v1/version", accessToken, nil)
	if err != nil {
		return err
	}
	if r.status == http.StatusForbidden {
		return suspended(op, r.status)
	}
	return statusError(op, r.status)
}

func suspended(op string, status int) *Error {
	return &Error{Kind: Suspended, Op: op, Status: status, Detail: "the account may not sign in"}
}

// Token is what Forgejo says of an access token.
type Token struct {
	Identity
	// Scope is that of the user's first grant, in the form it was asked for then.
	Scope string
}

// Introspect asks whose the token is and what it may do (RFC 7662), as Forgejo's token
// answer does not say. Errors are *Error: Denied, Misconfigured or Down.
func (c *Client) Introspect(ctx context.Context, accessToken string) (Token, error) {
	const op = "read the granted scope"
	r, err := c.ask(ctx, op, "login/oauth/introspect", "", url.Values{"token": {accessToken}})
	if err != nil {
		return Token{}, err
	}
	var answer struct {
		Active   bool   `json:"active"`
		Scope    string `json:"scope"`
		Sub      string `json:"sub"`
		Username string `json:"username"`
	}
	known := r.json && r.decode(&answer)
	switch {
	case r.status == http.StatusUnauthorized, known && !answer.Active:
		return Token{}, &Error{Kind: Denied, Op: op, Status: r.status, Detail: "the access token or the client is not accepted"}
	case !known:
		return Token{}, statusError(op, r.status)
	}
	return Token{Identity{Subject: answer.Sub, Name: answer.Username}, answer.Scope}, nil
}

// Version asks the forge for its version, without a token: the cheapest way to see
// that it is there. Its name is resolved anew, and a connection made. A forge that tells only those who are logged in gives "".
// Errors are *Error: Down or Misconfigured.
func (c *Client) Version(ctx context.Context) (string, error) {
	const op = "read the forge's version"
	fresh := *c
	fresh.http = c.fresh
	r, err := fresh.ask(ctx, op, "api/v1/version", "", nil)
	if err != nil {
		return "", err
	}
	if r.json && (r.status == http.StatusUnauthorized || r.status == http.StatusForbidden) {
		return "", nil
	}
	var answer struct {
		Version string `json:"version"`
	}
	if !r.decode(&answer) || answer.Version == "" {
		return "", statusError(op, r.status)
	}
	return answer.Version, nil
}

// VerifyScope compares what was granted with what the client asks for. It
// returns nil or an *Error of kind ScopeTooBroad; see ScopeSame for grants that
// are narrower.
func (c *Client) VerifyScope(granted string) error {
	if ScopeWithin(granted, c.scope) {
		return nil
	}
	return &Error{Kind: ScopeTooBroad, Op: "accept the login",
		Detail: "the granted scope is broader than FJMCP_BROKER_FORGEJO_SCOPES; an older grant of this user stands and must be " +
			"revoked at " + c.ApplicationsURL()}
}

// CallbackError is what an `error` parameter at the redirect URI means (RFC 6749
// §4.1.2.1). Forgejo answers server_error both for its own failures and for "a
// grant exists with different scope".
func (c *Client) CallbackError(code string) *Error {
	e := &Error{Kind: Denied, Op: "log in", Detail: "forgejo refused the authorization request"}
	if plainCode(code) {
		e.Code = code
	}
	switch code {
	case "access_denied":
		e.Detail = "the user did not agree"
	case "server_error":
		e.Kind, e.Detail = ScopeTooBroad, "forgejo failed, or a grant with another scope stands"
	case "temporarily_unavailable":
		e.Kind, e.Detail = Down, "forgejo is busy"
	case "unauthorized_client", "invalid_scope", "unsupported_response_type":
		e.Kind, e.Detail = Misconfigured, "the OAuth application at forgejo does not fit this server's configuration"
	}
	return e
}

// reply is an answer of Forgejo's, read to its end.
type reply struct {
	status int
	json   bool   // by its Content-Type
	body   []byte // at most maxBody bytes
	total  int    // X-Total-Count, of a list; 0 without
}

// decode reads a JSON answer of status 200 into v, and reports whether it is one.
func (r reply) decode(v any) bool {
	return r.status == http.StatusOK && json.Unmarshal(r.body, v) == nil
}

// ask gets path with an access token, if any, or posts form as the OAuth application.
func (c *Client) ask(ctx context.Context, op, path, accessToken string, form url.Values) (reply, error) {
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+"/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return reply{}, transportError(op, err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(c.oauth.ClientID, c.oauth.ClientSecret)
	} else if accessToken != "" {
		req.Header.Set("Authorization", "Bearer "+accessToken)
	}
	return c.send(op, req)
}

func (c *Client) send(op string, req *http.Request) (reply, error) {
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, transportError(op, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return reply{}, transportError(op, err)
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	total, _ := strconv.Atoi(resp.Header.Get("X-Total-Count"))
	return reply{resp.StatusCode, err == nil && mediaType == "application/json", body, total}, nil
}
