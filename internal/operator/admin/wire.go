package admin

import (
	"fmt"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// Session is one session as the operator sees it.
type Session struct {
	ID       string    `json:"id"`      // FJMCP_SESSION in the journal
	User     string    `json:"user"`    // login name; "" if another user has taken it over, until the forge tells the new one
	UserID   string    `json:"user_id"` // the forge's number of the user, which stays
	Client   string    `json:"client"`
	ClientID string    `json:"client_id"`
	Kind     string    `json:"kind"`  // client or shared
	State    string    `json:"state"` // running or dormant
	Unit     string    `json:"unit,omitempty"`
	Protocol string    `json:"protocol"`
	ReadOnly bool      `json:"read_only"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"last_used"`
	InFlight int       `json:"in_flight"`
}

// States of a session.
const (
	Running = "running"
	Dormant = "dormant"
)

// Call is a request that a session's backend has yet to answer. What it was asked
// with is not told.
type Call struct {
	Session string    `json:"session"`
	User    string    `json:"user"`
	Method  string    `json:"method"`
	Tool    string    `json:"tool,omitempty"`
	Began   time.Time `json:"began"`
}

// Detail is all that is known of one session.
type Detail struct {
	Session
	Ends time.Time `json:"ends"` // of age, at the latest
	// HeldUntil is until when it is not started, since its backend keeps ending by
	// itself; zero if it may.
	HeldUntil time.Time `json:"held_until,omitzero"`
	Calls     []Call    `json:"calls"`
	Launcher  string    `json:"launcher"` // systemd or process; only with systemd is Unit one of its units
}

// Stopped says what became of the sessions to stop.
type Stopped struct {
	Stopped []Session     `json:"stopped"`
	Failed  []Unstoppable `json:"failed"`
}

// Unstoppable is a session that could not be stopped, and why.
type Unstoppable struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// Drain is how far a drain has come.
type Drain struct {
	Since time.Time `json:"since"`
	Calls []Call    `json:"calls"` // still in flight, the oldest first
}

// Client is one OAuth client as the operator sees it.
type Client struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Kind         string    `json:"kind"` // registered, document or operator
	AuthMethod   string    `json:"auth_method"`
	RedirectURIs []string  `json:"redirect_uris"`
	Introspect   bool      `json:"introspect"`
	Grants       int       `json:"grants"` // logins that stand
	Created      time.Time `json:"created"`
	LastUsed     time.Time `json:"last_used,omitzero"`
	Device       bool      `json:"device"` // may log in by a code (RFC 8628)
}

// IDPrefix tells a user's number at the forge from a login name, which has no colon.
const IDPrefix = "id:"

// User is one user as the operator sees it.
type User struct {
	User         string    `json:"user"`    // as in Session; also "" if the user was never here
	UserID       string    `json:"user_id"` // as in Session
	Blocked      bool      `json:"blocked"`
	BlockedSince time.Time `json:"blocked_since,omitzero"`
	BlockedBy    string    `json:"blocked_by,omitempty"` // operator
	Clients      int       `json:"clients"`              // that have a login
	Logins       int       `json:"logins"`               // that stand
	Running      int       `json:"running"`              // sessions
	Dormant      int       `json:"dormant"`              // sessions
	LastLogin    time.Time `json:"last_login,omitzero"`
	LastUsed     time.Time `json:"last_used,omitzero"`
}

// UserDetail is all that is known of one user.
type UserDetail struct {
	User
	Grants   []Grant   `json:"grants"`
	Sessions []Session `json:"sessions"`
}

// UserEnded says what ended of a user.
type UserEnded struct {
	User          string  `json:"user"`
	UserID        string  `json:"user_id"`
	Blocked       bool    `json:"blocked"`
	Grants        []Grant `json:"grants"` // as they were
	SessionsEnded int     `json:"sessions_ended"`
}

// Grant is one login of a user with a client.
type Grant struct {
	ID       string    `json:"id"` // FJMCP_GRANT in the journal
	User     string    `json:"user"`
	UserID   string    `json:"user_id"`
	Client   string    `json:"client"`
	ClientID string    `json:"client_id"`
	Scope    string    `json:"scope"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"last_used,omitzero"` // zero before the client has fetched its tokens
	Expires  time.Time `json:"expires"`            // unless it is used before
}

// Revoked lists grants that ended, as they were.
type Revoked struct {
	Revoked []Grant `json:"revoked"`
}

// NewClient is what the operator says about a client to add.
type NewClient struct {
	Name         string   `json:"name"`
	RedirectURIs []string `json:"redirect_uris"`
	Public       bool     `json:"public"`     // without a secret
	Introspect   bool     `json:"introspect"` // may ask about tokens (RFC 7662)
	Device       bool     `json:"device"`     // may log in by a code (RFC 8628); by redirects as well if it has any URI
}

// AddedClient is what a client needs to be told. The secret, empty for a public
// client, cannot be read again. It prints redacted.
type AddedClient struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret,omitempty"`
}

// Format hides the secret, whatever the verb.
func (a AddedClient) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "AddedClient(%s, redacted)", a.ID) }

// Rotation says what a key rotation has done.
type Rotation struct {
	Values     int `json:"values"`     // sealed in the database
	Moved      int `json:"moved"`      // to the current key
	Unreadable int `json:"unreadable"` // with the keys the broker has; deleted
}

// Trial is where one request can be made, within half a minute, to see what the way from
// the public URL to the broker makes of it. It is answered with a stream of two events:
// Seen at once, and TrialEnd some seconds later.
type Trial struct {
	URL string `json:"url"`
}

// Seen is what the broker saw of a request.
type Seen struct {
	Source   string `json:"source"`   // where it came from, as the limits count it
	Believed bool   `json:"believed"` // what X-Forwarded-For says counts
}

// TrialEnd is the data of a trial's last event.
const TrialEnd = "end"

// Health words.
const (
	Healthy    = "healthy"
	Degraded   = "degraded"
	Draining   = "draining"    // the operator has it take no calls; else healthy
	NotRunning = "not running" // told by the caller
)

// Status is one look at a running broker.
type Status struct {
	Health  string    `json:"health"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// DrainingSince is when the operator had it take no more calls, zero if not.
	DrainingSince time.Time `json:"draining_since,omitzero"`

	PublicURL string         `json:"public_url"`
	Forgejo   ForgejoStatus  `json:"forgejo"`
	Launcher  LauncherStatus `json:"launcher"`
	Store     StoreStatus    `json:"store"`
	Sessions  SessionsStatus `json:"sessions"`
	Policy    PolicyStatus   `json:"policy"`

	// Checks are what a new user needs.
	Checks []health.Result `json:"checks"`
}

// ForgejoStatus is what is known of the forge.
type ForgejoStatus struct {
	URL     string `json:"url"`
	Version string `json:"version,omitempty"` // not told by a forge that is closed to strangers
	Problem string `json:"problem,omitempty"` // of the check "forge"
}

// LauncherStatus is what starts sessions.
type LauncherStatus struct {
	Kind    string `json:"kind"`              // systemd or process
	Problem string `json:"problem,omitempty"` // of the check "launcher"
}

// StoreStatus is the state of the database.
type StoreStatus struct {
	Path    string `json:"path"`
	Bytes   int64  `json:"bytes"`
	Schema  string `json:"schema"` // the latest migration
	Users   int    `json:"users"`
	Clients int    `json:"clients"`
	Logins  int    `json:"logins"` // that can still be used

	// Of users with such logins: those whose token the forge has refused, and those who have
	// granted more than is asked for now, or less.
	UsersLost     int `json:"users_lost,omitempty"`
	UsersBroader  int `json:"users_broader,omitempty"`
	UsersNarrower int `json:"users_narrower,omitempty"`

	Sealed     int    `json:"sealed"`     // values
	OlderKey   int    `json:"older_key"`  // of them, to be moved by a key rotation
	Unreadable int    `json:"unreadable"` // of them, with no key that the broker has
	Problem    string `json:"problem,omitempty"`
}

// SessionsStatus counts sessions and calls.
type SessionsStatus struct {
	Running  int `json:"running"` // units, starting ones among them
	Dormant  int `json:"dormant"`
	Warm     int `json:"warm"`     // units that wait for the first session after a login, besides the running ones
	Max      int `json:"max"`      // running units
	PerUser  int `json:"per_user"` // of them, of one user
	InFlight int `json:"in_flight"`
}

// Assess sets Health by the rest, and the problems of parts by their checks.
func (s *Status) Assess() {
	for _, r := range s.Checks {
		if r.State != health.Failing {
			continue
		}
		switch r.Name {
		case "forge":
			s.Forgejo.Problem = r.Cause
		case "launcher":
			s.Launcher.Problem = r.Cause
		case "store":
			s.Store.Problem = r.Cause
		}
	}
	switch {
	case health.Failed(s.Checks), s.Forgejo.Problem != "", s.Launcher.Problem != "", s.Store.Problem != "", s.Store.Unreadable > 0:
		s.Health = Degraded
	case !s.DrainingSince.IsZero():
		s.Health = Draining
	default:
		s.Health = Healthy
	}
}
