package fakeforge

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// applicationOptions is the body of a request that makes or changes an application
// (modules/structs/user_app.go, CreateOAuth2ApplicationOptions).
type applicationOptions struct {
	Name         string   `json:"name"`
	Confidential bool     `json:"confidential_client"`
	RedirectURIs []string `json:"redirect_uris"`
}

func (f *Forge) routeApplications() {
	f.api("GET /user/applications/oauth2", false, []string{"user"}, (*call).listApplications)
	f.api("POST /user/applications/oauth2", false, []string{"user"}, (*call).createApplication)
	f.api("PATCH /user/applications/oauth2/{id}", false, []string{"user"}, (*call).updateApplication)
}

// listApplications knows the user's own alone, and tells no secret.
func (c *call) listApplications() {
	list := []any{}
	for _, a := range c.f.apps {
		if a.owner == c.user {
			list = append(list, a.json(""))
		}
	}
	c.list(list)
}

func (c *call) createApplication() {
	options, ok := c.applicationOptions()
	if !ok {
		return
	}
	app := &App{
		ClientID: random(), ClientSecret: "gto_" + random(), Name: options.Name, RedirectURIs: options.RedirectURIs,
		id: c.f.nextID(), owner: c.user,
	}
	c.f.apps = append(c.f.apps, app)
	reply(c.w, http.StatusCreated, app.json(app.ClientSecret))
}

// updateApplication sets all anew, and makes another secret each time.
func (c *call) updateApplication() {
	options, ok := c.applicationOptions()
	if !ok {
		return
	}
	id, _ := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	app := find(c.f.apps, func(a *App) bool { return a.id == id })
	switch {
	case app == nil:
		c.fail(http.StatusNotFound, "not found")
	case app.owner != c.user:
		c.fail(http.StatusInternalServerError, "UID mismatch")
	default:
		app.Name, app.RedirectURIs, app.ClientSecret = options.Name, options.RedirectURIs, "gto_"+random()
		c.ok(app.json(app.ClientSecret))
	}
}

func (c *call) applicationOptions() (options applicationOptions, ok bool) {
	if json.NewDecoder(c.r.Body).Decode(&options) != nil || options.Name == "" || len(options.RedirectURIs) == 0 {
		return options, c.fail(http.StatusUnprocessableEntity, "[]: Required")
	}
	return options, true
}

func (a *App) json(secret string) map[string]any {
	return map[string]any{
		"id": a.id, "name": a.Name, "client_id": a.ClientID, "client_secret": secret,
		"redirect_uris": a.RedirectURIs, "confidential_client": true, "created": seedTime,
	}
}

// Apps returns all applications, as they are now.
func (f *Forge) Apps() (list []App) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.apps {
		list = append(list, *a)
	}
	return list
}
