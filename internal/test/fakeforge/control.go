package fakeforge

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Register adds an OAuth application. Empty ClientID and ClientSecret are
// filled in; the application is returned with them.
func (f *Forge) Register(app App) (App, error) {
	if app.Name == "" || len(app.RedirectURIs) == 0 {
		return App{}, errors.New("cannot register an application without a name and a redirect URI")
	}
	if app.ClientID == "" {
		app.ClientID = random()
	}
	if app.ClientSecret == "" && !app.Public {
		app.ClientSecret = "gto_" + random()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.app(app.ClientID) != nil {
		return App{}, fmt.Errorf("cannot register client id %q twice", app.ClientID)
	}
	app.id = f.nextID()
	kept := app
	f.apps = append(f.apps, &kept)
	return app, nil
}

// personalToken is an access token of a user's own making.
type personalToken struct {
	userID int64
	scope  string
}

// PersonalToken returns a new access token of user with the given
// space-separated scope; it never expires.
func (f *Forge) PersonalToken(name, scope string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.userByName(name)
	if u == nil {
		return "", noUser(name)
	}
	token := random() + random()
	f.personal[token] = personalToken{userID: u.id, scope: scope}
	return token, nil
}

func noUser(name string) error { return fmt.Errorf("cannot find the user %q", name) }

// RevokeGrants revokes what user granted to any application, as the user would
// under Settings → Applications. It returns how many grants there were.
func (f *Forge) RevokeGrants(name string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.userByName(name)
	if u == nil {
		return 0, noUser(name)
	}
	return f.dropGrants(func(g *grant) bool { return g.userID == u.id }), nil
}

// dropGrants deletes grants and the codes that hang on them.
func (f *Forge) dropGrants(match func(*grant) bool) int {
	before := len(f.grants)
	f.grants = slices.DeleteFunc(f.grants, match)
	for value, c := range f.codes {
		if !slices.Contains(f.grants, c.grant) {
			delete(f.codes, value)
		}
	}
	return before - len(f.grants)
}

// DeleteApp deletes an application and its grants.
func (f *Forge) DeleteApp(clientID string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	app := f.app(clientID)
	if app == nil {
		return fmt.Errorf("cannot find the application %q", clientID)
	}
	f.apps = slices.DeleteFunc(f.apps, func(a *App) bool { return a == app })
	f.dropGrants(func(g *grant) bool { return g.appID == app.id })
	return nil
}

// DeleteUser deletes an account and its grants.
func (f *Forge) DeleteUser(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.userByName(name)
	if u == nil {
		return noUser(name)
	}
	f.users = slices.DeleteFunc(f.users, func(o *user) bool { return o == u })
	f.dropGrants(func(g *grant) bool { return g.userID == u.id })
	return nil
}

// Suspend forbids or allows a user to sign in. Tokens stay as they are: refresh
// continues to work, the API answers 403 and userinfo HTML.
func (f *Forge) Suspend(name string, suspended bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.userByName(name)
	if u == nil {
		return noUser(name)
	}
	u.suspended = suspended
	return nil
}

// RotateSecret gives an application a new secret and returns it.
func (f *Forge) RotateSecret(clientID string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	app := f.app(clientID)
	if app == nil {
		return "", fmt.Errorf("cannot find the application %q", clientID)
	}
	app.ClientSecret = "gto_" + random()
	return app.ClientSecret, nil
}

// Advance moves the forge's clock forward, and with it everything that expires.
func (f *Forge) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offset += d
}

// ExpireAccessTokens makes every access token issued so far expire; refresh
// tokens live on. It moves the forge's clock.
func (f *Forge) ExpireAccessTokens() { f.Advance(f.cfg.AccessTTL + time.Second) }

// Stats returns the counters so far.
func (f *Forge) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}
