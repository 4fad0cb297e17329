package admin

import (
	"context"
	"net/http"
	"time"
)

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
}

// ForgejoStatus is whether the forge answers.
type ForgejoStatus struct {
	URL     string `json:"url"`
	Version string `json:"version,omitempty"` // not told by a forge that is closed to strangers
	Problem string `json:"problem,omitempty"`
}

// LauncherStatus is whether sessions could be started.
type LauncherStatus struct {
	Kind    string `json:"kind"` // systemd or process
	Problem string `json:"problem,omitempty"`
}

// StoreStatus is the state of the database.
type StoreStatus struct {
	Path    string `json:"path"`
	Bytes   int64  `json:"bytes"`
	Schema  string `json:"schema"` // the latest migration
	Users   int    `json:"users"`
	Clients int    `json:"clients"`
	Logins  int    `json:"logins"` // that can still be used

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

// Assess sets Health by the rest.
func (s *Status) Assess() {
	switch {
	case s.Forgejo.Problem != "", s.Launcher.Problem != "", s.Store.Problem != "", s.Store.Unreadable > 0:
		s.Health = Degraded
	case !s.DrainingSince.IsZero():
		s.Health = Draining
	default:
		s.Health = Healthy
	}
}

func (h *handler) status(r *http.Request) (any, error) { return h.cfg.Status(r.Context()), nil }

// Status takes one look at the broker.
func (c *Caller) Status(ctx context.Context) (s Status, err error) {
	err = c.call(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}
