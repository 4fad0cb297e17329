package forgejo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// What a token's scope must open for the questions of Membership.
var (
	// AdministratorScope is for whether the user administers the site.
	AdministratorScope = []string{"read:user"}
	// OrganizationScope is for the user's organizations.
	OrganizationScope = []string{"read:user", "read:organization"}
	// TeamScope is for the user's teams.
	TeamScope = []string{"read:user"}
)

// MayAsk reports whether the scope that the client asks for opens all of scope.
func (c *Client) MayAsk(scope []string) bool {
	return ScopeWithin(strings.Join(scope, " "), c.scope)
}

// Membership asks what the user whom the forge knows by the number subject is: by that
// user's own token, so that it tells of what is private as well. What the scope does not
// open is left out. UserID and AskedAt are the caller's. Errors are *Error: Denied with
// status 403 where the token's grant opens less than the scope, Denied with 401 for a
// token that is not accepted, Suspended, Misconfigured or Down.
func (c *Client) Membership(ctx context.Context, accessToken, subject string) (m model.Membership, err error) {
	var user struct {
		ID            int64 `json:"id"`
		Administrator bool  `json:"is_admin"`
	}
	if _, err := c.read(ctx, "api/v1/user", accessToken, &user); err != nil {
		return model.Membership{}, err
	}
	if strconv.FormatInt(user.ID, 10) != subject {
		return model.Membership{}, &Error{Kind: Down, Op: opMembership, Status: http.StatusOK, Detail: "the answer is about another account"}
	}
	m.Administrator = user.Administrator
	if m.Organizations, err = c.organizations(ctx, accessToken); err == nil {
		m.Teams, err = c.teams(ctx, accessToken)
	}
	if err != nil {
		return model.Membership{}, err
	}
	return m, nil
}

const opMembership = "read what the user is a member of"

func (c *Client) organizations(ctx context.Context, accessToken string) ([]model.Named, error) {
	if !c.MayAsk(OrganizationScope) {
		return nil, nil
	}
	return pages(func(query string) (list []model.Named, total int, err error) {
		total, err = c.read(ctx, "api/v1/user/orgs?"+query, accessToken, &list)
		return list, total, err
	})
}

func (c *Client) teams(ctx context.Context, accessToken string) ([]model.Named, error) {
	return pages(func(query string) ([]model.Named, int, error) {
		var list []struct {
			model.Named
			Organization model.Named `json:"organization"`
		}
		total, err := c.read(ctx, "api/v1/user/teams?"+query, accessToken, &list)
		var teams []model.Named
		for _, t := range list {
			teams = append(teams, model.Named{ID: t.ID, Name: t.Organization.Name + "/" + t.Name})
		}
		return teams, total, err
	})
}

// pages gets what a list has on all its pages, at most mostPages. get is given the query,
// and returns how many there are in all, 0 where the forge does not say.
func pages[T any](get func(query string) (list []T, total int, err error)) (all []T, err error) {
	for page := 1; page <= mostPages; page++ {
		list, total, err := get(fmt.Sprintf("limit=%d&page=%d", pageSize, page))
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if len(list) == 0 || len(all) == total {
			break
		}
	}
	return all, nil
}

// read gets a path of the API with a user's token into out, and how many there are in all
// of what it lists.
func (c *Client) read(ctx context.Context, path, accessToken string, out any) (total int, err error) {
	r, err := c.ask(ctx, opMembership, path, accessToken, nil)
	switch {
	case err != nil:
		return 0, err
	case r.status == http.StatusUnauthorized:
		return 0, &Error{Kind: Denied, Op: opMembership, Status: r.status, Detail: "the access token is not accepted"}
	case r.status == http.StatusForbidden:
		return 0, c.suspendedOrNarrow(ctx, accessToken)
	case !r.decode(out):
		return 0, statusError(opMembership, r.status)
	}
	return r.total, nil
}

// suspendedOrNarrow tells apart why the API answers 403: it does so on every path to a
// suspended account.
func (c *Client) suspendedOrNarrow(ctx context.Context, accessToken string) error {
	r, err := c.ask(ctx, opMembership, "api/v1/version", accessToken, nil)
	switch {
	case err != nil:
		return err
	case r.status == http.StatusForbidden:
		return suspended(opMembership, r.status)
	}
	return &Error{Kind: Denied, Op: opMembership, Status: http.StatusForbidden, Detail: "the user's grant does not open it"}
}

// UserID asks for the number of the account of that login name, without a token. 0: nobody
// of that name can be seen so, perhaps since the forge shows nothing to who is not logged
// in. Errors are *Error: Misconfigured or Down.
func (c *Client) UserID(ctx context.Context, name string) (int64, error) {
	return c.number(ctx, "look up a user", "api/v1/users/"+url.PathEscape(name), name)
}

// OrganizationID is UserID for an organization.
func (c *Client) OrganizationID(ctx context.Context, name string) (int64, error) {
	return c.number(ctx, "look up an organization", "api/v1/orgs/"+url.PathEscape(name), name)
}

// hidden are the answers for what cannot be seen; Forgejo redirects from a name that
// somebody has given up.
var hidden = []int{http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden, http.StatusTemporaryRedirect}

func (c *Client) number(ctx context.Context, op, path, name string) (int64, error) {
	r, err := c.ask(ctx, op, path, "", nil)
	if err != nil {
		return 0, err
	}
	var found struct {
		ID       int64  `json:"id"`
		Username string `json:"username"` // of both kinds
		Login    string `json:"login"`
	}
	switch {
	case slices.Contains(hidden, r.status):
		return 0, nil
	case !r.decode(&found) || found.ID <= 0:
		return 0, statusError(op, r.status)
	case !strings.EqualFold(found.Username, name) && !strings.EqualFold(found.Login, name):
		return 0, nil
	}
	return found.ID, nil
}
