package fakeforge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
// goes on working, the API answers 403 and userinfo HTML.
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

// command is the body of a control request; each uses the fields it needs.
type command struct {
	User      string        `json:"user"`
	ClientID  string        `json:"client_id"`
	Scope     string        `json:"scope"`
	Suspended *bool         `json:"suspended"` // absent means true
	Duration  time.Duration `json:"duration"`  // nanoseconds
	Path      string        `json:"path"`
}

// Control returns the control API for a forge in another process. It has no
// authentication: serve it on loopback or a private socket only. Every request
// is a POST with a JSON body, answered with 200 and JSON or 400 and a line of
// text:
//
//	/register  an App           → the App with id and secret
//	/token     user, scope      → {"token"}
//	/revoke    user             → {"revoked": n}
//	/delete-app client_id, /delete-user user, /suspend user [suspended]
//	/rotate-secret client_id    → {"client_secret"}
//	/advance   duration (ns), /expire
//	/fault     a Fault, /clear-faults
//	/stats     [path]           → {"exchanges","refreshes","refused","requests","waiting"}
func (f *Forge) Control() http.Handler {
	mux := http.NewServeMux()
	control(mux, "register", func(app App) (any, error) { return f.Register(app) })
	control(mux, "fault", func(fault Fault) (any, error) { return nil, f.Inject(fault) })
	for name, run := range f.commands() {
		control(mux, name, run)
	}
	return mux
}

func (f *Forge) commands() map[string]func(command) (any, error) {
	return map[string]func(command) (any, error){
		"token": func(c command) (any, error) {
			token, err := f.PersonalToken(c.User, c.Scope)
			return map[string]string{"token": token}, err
		},
		"revoke": func(c command) (any, error) {
			n, err := f.RevokeGrants(c.User)
			return map[string]int{"revoked": n}, err
		},
		"delete-app":  func(c command) (any, error) { return nil, f.DeleteApp(c.ClientID) },
		"delete-user": func(c command) (any, error) { return nil, f.DeleteUser(c.User) },
		"suspend": func(c command) (any, error) {
			return nil, f.Suspend(c.User, c.Suspended == nil || *c.Suspended)
		},
		"rotate-secret": func(c command) (any, error) {
			secret, err := f.RotateSecret(c.ClientID)
			return map[string]string{"client_secret": secret}, err
		},
		"advance":      func(c command) (any, error) { f.Advance(c.Duration); return nil, nil },
		"expire":       func(command) (any, error) { f.ExpireAccessTokens(); return nil, nil },
		"clear-faults": func(command) (any, error) { f.ClearFaults(); return nil, nil },
		"stats": func(c command) (any, error) {
			return struct {
				Stats
				Requests int `json:"requests"`
				Waiting  int `json:"waiting"`
			}{f.Stats(), f.Requests(c.Path), f.Waiting()}, nil
		},
	}
}

// control registers a command whose JSON body has the form T.
func control[T any](mux *http.ServeMux, name string, run func(T) (any, error)) {
	mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
		var body T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&body); err != nil && r.ContentLength != 0 {
			http.Error(w, "cannot read the body: "+err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := run(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if answer == nil {
			answer = struct{}{}
		}
		reply(w, http.StatusOK, answer)
	})
}
