package forgejo

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
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
	resp, body, err := c.get(ctx, op, "login/oauth/userinfo", accessToken)
	if err != nil {
		return Identity{}, err
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return Identity{}, &Error{Kind: Denied, Op: op, Status: resp.StatusCode, Detail: "the access token is not accepted"}
	case resp.StatusCode == http.StatusForbidden:
		return Identity{}, suspended(op, resp.StatusCode)
	case resp.StatusCode == http.StatusOK && !isJSON(resp):
		return Identity{}, c.suspendedOrDown(ctx, op, accessToken)
	}
	var info struct {
		Sub               string `json:"sub"`
		PreferredUsername string `json:"preferred_username"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &info) != nil || info.Sub == "" {
		return Identity{}, statusError(op, resp.StatusCode)
	}
	return Identity{Subject: info.Sub, Name: info.PreferredUsername}, nil
}

// suspendedOrDown tells a suspended account from a page some proxy put up: both
// answer userinfo with 200 and HTML, but for a suspended account the API
// answers 403 on every path.
func (c *Client) suspendedOrDown(ctx context.Context, op, accessToken string) error {
	resp, _, err := c.get(ctx, op, "api/v1/version", accessToken)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusForbidden {
		return suspended(op, resp.StatusCode)
	}
	return statusError(op, resp.StatusCode)
}

func suspended(op string, status int) *Error {
	return &Error{Kind: Suspended, Op: op, Status: status, Detail: "the account may not sign in"}
}

// GrantedScope asks what the token may do (RFC 7662), as Forgejo's token answer
// does not say. The result is the scope of the user's first grant, in the form
// it was asked for then. Errors are *Error: Denied, Misconfigured or Down.
func (c *Client) GrantedScope(ctx context.Context, accessToken string) (string, error) {
	const op = "read the granted scope"
	form := strings.NewReader(url.Values{"token": {accessToken}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("login/oauth/introspect").String(), form)
	if err != nil {
		return "", transportError(op, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(c.oauth.ClientID, c.oauth.ClientSecret)
	resp, body, err := c.do(op, req)
	if err != nil {
		return "", err
	}
	var answer struct {
		Active bool   `json:"active"`
		Scope  string `json:"scope"`
	}
	refused := &Error{Kind: Denied, Op: op, Status: resp.StatusCode, Detail: "the access token or the client is not accepted"}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return "", refused
	case resp.StatusCode != http.StatusOK || !isJSON(resp) || json.Unmarshal(body, &answer) != nil:
		return "", statusError(op, resp.StatusCode)
	case !answer.Active:
		return "", refused
	}
	return answer.Scope, nil
}

// Version asks the forge for its version, without a token: the cheapest way to see
// that it is there. A forge that tells only those who are logged in gives "".
// Errors are *Error: Down or Misconfigured.
func (c *Client) Version(ctx context.Context) (string, error) {
	const op = "read the forge's version"
	resp, body, err := c.get(ctx, op, "api/v1/version", "")
	if err != nil {
		return "", err
	}
	refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
	if refused && isJSON(resp) {
		return "", nil
	}
	var answer struct {
		Version string `json:"version"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Version == "" {
		return "", statusError(op, resp.StatusCode)
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
		Detail: "the granted scope is broader than FJMCP_BROKER_FORGEJO_SCOPES; an older grant of this user stands and must be revoked at " + c.ApplicationsURL()}
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

func (c *Client) get(ctx context.Context, op, path, accessToken string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, nil, transportError(op, err)
	}
	if accessToken != "" {
		req.Header.Set("Authorization", "Bearer "+accessToken)
	}
	req.Header.Set("Accept", "application/json")
	return c.do(op, req)
}

// do sends req and reads the whole answer, at most maxBody bytes of it. The
// response's body is closed.
func (c *Client) do(op string, req *http.Request) (*http.Response, []byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, transportError(op, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, nil, transportError(op, err)
	}
	return resp, body, nil
}

func isJSON(resp *http.Response) bool {
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && mediaType == "application/json"
}
