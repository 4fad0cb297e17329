package forgejo

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Date is the forge's time of day, to the second, as it stands in the header of any
// answer (RFC 9110 §6.6.1); the zero time if it says none. Errors are *Error, Down.
func (c *Client) Date(ctx context.Context) (time.Time, error) {
	const op = "read the forge's clock"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath("api/v1/version").String(), nil)
	if err != nil {
		return time.Time{}, transportError(op, err)
	}
	resp, err := c.fresh.Do(req)
	if err != nil {
		return time.Time{}, transportError(op, err)
	}
	resp.Body.Close()
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	return date, nil
}

// KnowsRedirect asks whether the redirect URI is one of the application's. Forgejo says so
// to who is logged in alone, but at the token endpoint it looks at the URI before the code:
// with a code that cannot exist it refuses a URI that is registered for the code, and any
// other for the URI. What it says of ours is compared with what it says of one that nobody
// registers. It costs the forge the hash of three secrets. Errors are *Error, and CheckClient's.
func (c *Client) KnowsRedirect(ctx context.Context) (known bool, err error) {
	if err := c.CheckClient(ctx); err != nil {
		return true, err
	}
	ours, err := c.refusal(ctx, c.oauth.RedirectURL)
	if err != nil {
		return true, err
	}
	other, err := c.refusal(ctx, "https://unregistered.invalid/oauth/callback")
	return err != nil || ours != other, err
}

// refusal is what the forge says to a code that cannot exist.
func (c *Client) refusal(ctx context.Context, redirect string) (string, error) {
	const op = "check the redirect URI"
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {"fjmcp-redirect-check"}, "code_verifier": {NewVerifier()},
		"client_id": {c.oauth.ClientID}, "client_secret": {c.oauth.ClientSecret}, "redirect_uri": {redirect},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.oauth.Endpoint.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", transportError(op, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return "", transportError(op, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return "", transportError(op, err)
	}
	if resp.StatusCode != http.StatusBadRequest {
		return "", statusError(op, resp.StatusCode)
	}
	return string(body), nil
}
