// Package fakeforge is a faithful fake Forgejo: OAuth provider, login and consent
// pages and as much of the API as tests call, all in memory.
//
// It keeps to what Forgejo does where that differs from the RFCs: grants keyed
// by (user, application) whose first scope wins, one refresh counter per grant,
// tokens that are deterministic per second, 400 for every OAuth error, HTML with
// status 200 for a suspended user, full access for an empty or misspelt scope.
// Profile holds what differs between versions.
//
// A forge is steered by the methods of Forge. It shares no code with the product, so
// that it shares none of its faults.
package fakeforge

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config describes a forge. The zero value is a Forgejo 15 with the users alice
// and bob.
type Config struct {
	URL     string  // public URL; empty means whatever host a request names
	Profile Profile // zero means Forgejo15

	AccessTTL  time.Duration // zero means 3600 s
	RefreshTTL time.Duration // zero means 730 h

	Now func() time.Time // nil means time.Now

	// Around, if set, stands between the network and a Server's forge.
	Around func(http.Handler) http.Handler
}

// User is an account of the forge.
type User struct {
	Name     string
	Password string
}

// DefaultUsers are the accounts of every forge.
var DefaultUsers = []User{{"alice", "alice-password"}, {"bob", "bob-password"}}

// App is an OAuth application.
type App struct {
	ClientID     string
	ClientSecret string
	Name         string
	RedirectURIs []string

	id    int64
	owner *user // nil for one of the whole site
}

// Forge is an http.Handler. Use New. All methods are safe for concurrent use.
type Forge struct {
	cfg   Config
	mux   *http.ServeMux
	plans faults

	mu       sync.Mutex // guards everything below
	offset   time.Duration
	users    []*user
	apps     []*App
	grants   []*grant
	codes    map[string]*code
	personal map[string]*grant // access tokens of a user's own making, of no application
	browsers map[string]*browser
	repos    []*repo

	organizations []*organization
	renamed       map[string]int64 // who had a name, in lower case, that nobody has now

	stats  Stats
	issued []string
	lastID int64
	key    []byte // that signs tokens
}

type user struct {
	id        int64
	name      string
	password  string
	suspended bool

	administrator bool // of the site
}

// Stats counts what the token endpoint did.
type Stats struct {
	Exchanges int // codes redeemed
	Refreshes int // refresh tokens honoured
	Refused   int // token requests answered with an error
}

// New returns a forge with its users, their repositories and issues.
func New(cfg Config) (*Forge, error) {
	cfg.Profile = cmp.Or(cfg.Profile, Forgejo15)
	cfg.AccessTTL = cmp.Or(cfg.AccessTTL, time.Hour)
	cfg.RefreshTTL = cmp.Or(cfg.RefreshTTL, 730*time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if u, err := url.Parse(cfg.URL); err != nil || cfg.URL != "" && (u.Host == "" || strings.Trim(u.Path, "/") != "") {
		return nil, fmt.Errorf("cannot use the URL %q: it must be an origin such as http://forgejo.localhost:3000", cfg.URL)
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	f := &Forge{
		cfg: cfg, mux: http.NewServeMux(),
		codes: map[string]*code{}, personal: map[string]*grant{}, renamed: map[string]int64{},
		browsers: map[string]*browser{}, key: []byte(rand.Text()),
		plans: faults{cleared: make(chan struct{}), seen: map[string]int{}},
	}
	for _, u := range DefaultUsers {
		f.seed(&user{id: f.nextID(), name: u.Name, password: u.Password})
	}
	f.routeOAuth()
	f.routePages()
	f.routeAPI()
	return f, nil
}

// ServeHTTP answers as Forgejo would, after what was injected for the path.
func (f *Forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	w.Header().Set("Date", f.now().UTC().Format(http.TimeFormat))
	f.mu.Unlock()
	f.plans.apply(w, r, f.mux)
}

// handle registers a handler that runs with the lock held.
// The body is off the wire by then, so that a slow client holds up nobody.
func (f *Forge) handle(pattern string, h func(http.ResponseWriter, *http.Request)) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil || r.ParseForm() != nil {
			http.Error(w, "bad form", http.StatusBadRequest)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		h(w, r)
	})
}

// now is the forge's clock, which ExpireAccessTokens and Advance move.
func (f *Forge) now() time.Time { return f.cfg.Now().Add(f.offset) }

func (f *Forge) nextID() int64 {
	f.lastID++
	return f.lastID
}

// base is the public URL without a trailing slash.
func (f *Forge) base(r *http.Request) string {
	if f.cfg.URL != "" {
		return f.cfg.URL
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (f *Forge) userByName(name string) *user {
	return find(f.users, func(u *user) bool { return strings.EqualFold(u.name, name) })
}

func (f *Forge) userByID(id int64) *user {
	return find(f.users, func(u *user) bool { return u.id == id })
}

func (f *Forge) app(clientID string) *App {
	return find(f.apps, func(a *App) bool { return a.ClientID == clientID })
}

// find returns the first match or the zero value.
func find[T any](list []T, match func(T) bool) (none T) {
	if i := slices.IndexFunc(list, match); i >= 0 {
		return list[i]
	}
	return none
}

func random() string { return strings.ToLower(rand.Text()) }
