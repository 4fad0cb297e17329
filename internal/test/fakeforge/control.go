package fakeforge

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Register adds an OAuth application. Empty ClientID and ClientSecret are
// filled in; the application is returned with them.
func (f *Forge) Register(app App) (App, error) {
	if app.Name == "" || len(app.RedirectURIs) == 0 {
		return App{}, errors.New("cannot register an application without a name and a redirect URI")
	}
	app.ClientID = cmp.Or(app.ClientID, random())
	app.ClientSecret = cmp.Or(app.ClientSecret, "gto_"+random())
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.app(app.ClientID) != nil {
		return App{}, fmt.Errorf("cannot register client id %q twice", app.ClientID)
	}
	app.id = f.nextID()
	f.apps = append(f.apps, &app)
	return app, nil
}

// AddUser makes an account besides DefaultUsers, with a repository as theirs and the
// password <name>-password.
func (f *Forge) AddUser(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seed(&user{id: f.nextID(), name: name, password: name + "-password"})
}

// withUser steers an account.
func (f *Forge) withUser(name string, do func(*user)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.userByName(name)
	if u == nil {
		return fmt.Errorf("cannot find the user %q", name)
	}
	do(u)
	return nil
}

// withApp steers an application.
func (f *Forge) withApp(clientID string, do func(*App)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	app := f.app(clientID)
	if app == nil {
		return fmt.Errorf("cannot find the application %q", clientID)
	}
	do(app)
	return nil
}

// PersonalToken returns a new access token of user with the given
// space-separated scope; it never expires.
func (f *Forge) PersonalToken(name, scope string) (token string, err error) {
	err = f.withUser(name, func(u *user) {
		token = random() + random()
		f.personal[token] = &grant{userID: u.id, scope: scope}
	})
	return token, err
}

// RevokeGrants revokes what user granted to any application, as the user would
// under Settings → Applications. It returns how many grants there were.
func (f *Forge) RevokeGrants(name string) (n int, err error) {
	err = f.withUser(name, func(u *user) {
		n = f.dropGrants(func(g *grant) bool { return g.userID == u.id })
	})
	return n, err
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
	return f.withApp(clientID, func(app *App) {
		f.apps = slices.DeleteFunc(f.apps, func(a *App) bool { return a == app })
		f.dropGrants(func(g *grant) bool { return g.appID == app.id })
	})
}

// DeleteUser deletes an account and its grants.
func (f *Forge) DeleteUser(name string) error {
	return f.withUser(name, func(u *user) {
		f.users = slices.DeleteFunc(f.users, func(o *user) bool { return o == u })
		for _, o := range f.organizations {
			o.lose(u)
		}
		f.dropGrants(func(g *grant) bool { return g.userID == u.id })
	})
}

// Backup keeps what users granted, and returns what brings that back later.
// The forge then signs with another key, so that no token of before is good, and the
// counters of its grants are what they were.
func (f *Forge) Backup() (restore func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var kept []grant
	for _, g := range f.grants {
		kept = append(kept, *g)
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.grants, f.codes, f.key = nil, map[string]*code{}, []byte(random())
		for _, g := range kept {
			f.grants = append(f.grants, &g)
		}
	}
}

// Redirect sets where an application's users may return to.
func (f *Forge) Redirect(clientID string, uris ...string) error {
	return f.withApp(clientID, func(app *App) { app.RedirectURIs = uris })
}

// Suspend forbids or allows a user to sign in. Tokens stay as they are: refresh
// continues to work, the API answers 403 and userinfo HTML.
func (f *Forge) Suspend(name string, suspended bool) error {
	return f.withUser(name, func(u *user) { u.suspended = suspended })
}

// RotateSecret gives an application a new secret and returns it.
func (f *Forge) RotateSecret(clientID string) (secret string, err error) {
	err = f.withApp(clientID, func(app *App) {
		app.ClientSecret = "gto_" + random()
		secret = app.ClientSecret
	})
	return secret, err
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

// Issued returns all access and refresh tokens that applications got so far.
func (f *Forge) Issued() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.issued)
}

// Rename gives an account another login name.
func (f *Forge) Rename(from, to string) error {
	return f.withUser(from, func(u *user) {
		f.renamed[strings.ToLower(u.name)] = u.id
		u.name = to
		delete(f.renamed, strings.ToLower(to))
	})
}
