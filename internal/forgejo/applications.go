package forgejo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Application is an OAuth2 application of one account's at the forge. It prints redacted.
type Application struct {
	ID           int64    `json:"id"`
	Name         string   `json:"name"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"` // only of one that was saved just now
	RedirectURIs []string `json:"redirect_uris"`
}

// Format hides the secret, whatever the verb.
func (a Application) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "Application(%s, redacted)", a.ClientID)
}

// HasRedirect compares as Forgejo does: without case, one slash at the end ignored.
func (a Application) HasRedirect(uri string) bool {
	return slices.ContainsFunc(a.RedirectURIs, func(registered string) bool {
		return strings.EqualFold(strings.TrimSuffix(registered, "/"), strings.TrimSuffix(uri, "/"))
	})
}

const (
	applicationsPath = "api/v1/user/applications/oauth2"
	pageSize         = 50  // Forgejo's own limit ([api] MAX_RESPONSE_ITEMS)
	mostPages        = 100 // of a forge that never ends
)

// Account asks for the login name of the token's account. The token is one that a person
// made at the forge (Settings → Applications). Errors are *Error: Denied for a token that
// is unknown or may not, Misconfigured or Down.
func (c *Client) Account(ctx context.Context, token string) (login string, err error) {
	var user struct {
		Login string `json:"login"`
	}
	err = c.api(ctx, "read the token's account", token, http.MethodGet, "api/v1/user", nil, &user)
	return user.Login, err
}

// Applications lists the token's account's own applications; those of the whole site and
// of organizations are not among them. Errors are as Account's.
func (c *Client) Applications(ctx context.Context, token string) ([]Application, error) {
	return pages(func(query string) (list []Application, total int, err error) {
		err = c.api(ctx, "list OAuth2 applications", token, http.MethodGet, applicationsPath+"?"+query, nil, &list)
		return list, 0, err
	})
}

// SaveApplication registers a, which has no ID yet, as an application of the token's
// account, or changes the one of that ID. Either way the answer holds a new secret, which
// cannot be read again, and a former one is dead. Errors are as Account's.
func (c *Client) SaveApplication(ctx context.Context, token string, a Application) (saved Application, err error) {
	method, path, op := http.MethodPost, applicationsPath, "register the OAuth2 application"
	if a.ID != 0 {
		method, path, op = http.MethodPatch, path+"/"+strconv.FormatInt(a.ID, 10), "change the OAuth2 application"
	}
	err = c.api(ctx, op, token, method, path, map[string]any{
		"name": a.Name, "redirect_uris": a.RedirectURIs, "confidential_client": true,
	}, &saved)
	if err == nil && (saved.ClientID == "" || saved.ClientSecret == "") {
		err = statusError(op, http.StatusOK)
	}
	return saved, err
}

// api asks the forge's API with a person's token, and reads its JSON into out.
func (c *Client) api(ctx context.Context, op, token, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		body, _ = json.Marshal(in) // strings and a bool always can
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+"/"+path, bytes.NewReader(body))
	if err != nil {
		return transportError(op, err)
	}
	req.Header.Set("Authorization", "token "+token)
	req.Header.Set("Content-Type", "application/json")
	r, err := c.send(op, req)
	if err != nil {
		return err
	}
	refused := &Error{Kind: Denied, Op: op, Status: r.status}
	switch {
	case r.status == http.StatusUnauthorized:
		refused.Detail = "forgejo does not know this token; make one at " + c.ApplicationsURL()
		return refused
	case r.status == http.StatusForbidden:
		refused.Detail = "this token may not: it needs the permission user: read and write (write:user), and an account that may sign in"
		return refused
	case r.status != http.StatusOK && r.status != http.StatusCreated || json.Unmarshal(r.body, out) != nil:
		return statusError(op, r.status)
	}
	return nil
}
