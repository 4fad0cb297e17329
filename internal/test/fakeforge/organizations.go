package fakeforge

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// organization is in one space of names and numbers with the users, as at Forgejo.
type organization struct {
	id         int64
	name       string
	visibility string // public, limited or private
	teams      []*team
}

type team struct {
	id      int64
	name    string
	org     *organization
	members []*user
}

// AddOrganization makes an organization, which has the team Owners and no member. One that
// is private is seen by its members alone. It returns the organization's id.
func (f *Forge) AddOrganization(name string, private bool) (id int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := &organization{id: f.nextID(), name: name, visibility: "public"}
	if private {
		o.visibility = "private"
	}
	o.teams = []*team{{id: f.nextID(), name: "Owners", org: o}}
	f.organizations = append(f.organizations, o)
	delete(f.renamed, strings.ToLower(name))
	return o.id
}

// Join makes a user a member of a team, which is made where the organization has none of
// that name, and returns the team's id.
func (f *Forge) Join(name, org, teamName string) (id int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, o := f.userByName(name), f.organizationByName(org)
	if u == nil || o == nil {
		return 0, fmt.Errorf("cannot have %q join %q: there is no such user or organization", name, org)
	}
	t := find(o.teams, func(t *team) bool { return strings.EqualFold(t.name, teamName) })
	if t == nil {
		t = &team{id: f.nextID(), name: teamName, org: o}
		o.teams = append(o.teams, t)
	}
	if !slices.Contains(t.members, u) {
		t.members = append(t.members, u)
	}
	return t.id, nil
}

// Leave takes a user out of all teams of an organization.
func (f *Forge) Leave(name, org string) error {
	return f.withUser(name, func(u *user) {
		if o := f.organizationByName(org); o != nil {
			o.lose(u)
		}
	})
}

func (o *organization) lose(u *user) {
	for _, t := range o.teams {
		t.members = slices.DeleteFunc(t.members, func(m *user) bool { return m == u })
	}
}

// SetAdministrator says whether an account administers the site.
func (f *Forge) SetAdministrator(name string, administrator bool) error {
	return f.withUser(name, func(u *user) { u.administrator = administrator })
}

// UserID is the number of an account, 0 if there is none of that name.
func (f *Forge) UserID(name string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u := f.userByName(name); u != nil {
		return u.id
	}
	return 0
}

func (f *Forge) organizationByName(name string) *organization {
	return find(f.organizations, func(o *organization) bool { return strings.EqualFold(o.name, name) })
}

func (o *organization) has(u *user) bool {
	return slices.ContainsFunc(o.teams, func(t *team) bool { return slices.Contains(t.members, u) })
}

func (f *Forge) routeOrganizations() {
	f.api("GET /users/{username}", true, []string{"user"}, (*call).showUser)
	f.api("GET /orgs/{org}", true, []string{"organization"}, (*call).showOrganization)
	f.api("GET /user/orgs", false, []string{"user", "organization"}, (*call).listOrganizations)
	f.api("GET /user/teams", false, []string{"user"}, (*call).listTeams)
}

// showUser also shows organizations (routers/api/v1/user/user.go, GetInfo), those that the
// asker sees.
func (c *call) showUser() {
	name := c.r.PathValue("username")
	if u := c.f.userByName(name); u != nil {
		c.ok(c.userJSON(u))
		return
	}
	if o := c.f.organizationByName(name); o != nil && c.sees(o) {
		c.ok(c.userJSON(&user{id: o.id, name: o.name}))
		return
	}
	c.redirected(name)
}

func (c *call) showOrganization() {
	name := c.r.PathValue("org")
	if o := c.f.organizationByName(name); o != nil && c.sees(o) {
		c.ok(c.organizationJSON(o))
		return
	}
	c.redirected(name)
}

func (c *call) sees(o *organization) bool {
	return o.visibility == "public" || c.user != nil && (c.user.administrator || o.has(c.user))
}

// redirected answers for a name that nobody has, or that somebody has given up
// (services/context, RedirectToUser).
func (c *call) redirected(name string) {
	if u := c.f.userByID(c.f.renamed[strings.ToLower(name)]); u != nil {
		http.Redirect(c.w, c.r, strings.Replace(c.r.URL.EscapedPath(), name, u.name, 1), http.StatusTemporaryRedirect)
		return
	}
	c.fail(http.StatusNotFound, "user redirect does not exist")
}

func (c *call) organizationJSON(o *organization) map[string]any {
	return map[string]any{
		"id": o.id, "name": o.name, "username": o.name, "full_name": "", "description": "", "website": "", "location": "", "email": "",
		"avatar_url": c.base + "/avatars/" + o.name, "visibility": o.visibility, "repo_admin_change_team_access": false,
	}
}

// listOrganizations lists those of the asker, private ones as well, by name.
func (c *call) listOrganizations() {
	all := slices.Clone(c.f.organizations)
	slices.SortFunc(all, func(a, b *organization) int { return cmp.Compare(a.name, b.name) })
	found := []any{}
	for _, o := range all {
		if o.has(c.user) {
			found = append(found, c.organizationJSON(o))
		}
	}
	c.list(found)
}

// listTeams lists those of the asker, with their organizations.
func (c *call) listTeams() {
	found := []any{}
	for _, o := range c.f.organizations {
		for _, t := range o.teams {
			if slices.Contains(t.members, c.user) {
				found = append(found, map[string]any{
					"id": t.id, "name": t.name, "description": "", "organization": c.organizationJSON(o), "includes_all_repositories": false,
					"permission": "none", "can_create_org_repo": false, "units": []string{}, "units_map": map[string]string{},
				})
			}
		}
	}
	c.list(found)
}
