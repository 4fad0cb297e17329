package admin

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Session is one session as the operator sees it.
type Session struct {
	ID       string    `json:"id"` // FJMCP_SESSION in the journal
	User     string    `json:"user"`
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

// Sessions is what stands behind the commands about sessions. Errors that the
// operator can mend are *Error.
type Sessions interface {
	List(context.Context) ([]Session, error)
	Show(ctx context.Context, id string) (Detail, error)
	// Stop ends sessions for good. The error is about all of them.
	Stop(ctx context.Context, ids []string) (Stopped, error)
	// Drain lets no further call begin, and returns when none is in flight or ctx
	// has ended.
	Drain(context.Context) (Drain, error)
	Undrain(context.Context)
}

func (h *handler) listSessions(r *http.Request) (any, error) {
	list, err := h.cfg.Sessions.List(r.Context())
	slices.SortFunc(list, func(a, b Session) int {
		return cmp.Or(a.LastUsed.Compare(b.LastUsed), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

func (h *handler) showSession(r *http.Request) (any, error) {
	return h.cfg.Sessions.Show(r.Context(), r.PathValue("id"))
}

// stopRequest is the body of POST /sessions/stop.
type stopRequest struct {
	IDs []string `json:"ids"`
}

func (h *handler) stopSessions(r *http.Request) (any, error) {
	var req stopRequest
	if err := read(r, &req); err != nil {
		return nil, err
	}
	return h.cfg.Sessions.Stop(r.Context(), req.IDs)
}

// Sessions lists all sessions, the longest unused first.
func (c *Caller) Sessions(ctx context.Context) (list []Session, err error) {
	err = c.call(ctx, http.MethodGet, "/sessions", nil, &list)
	return list, err
}

// ShowSession tells all of the session of that ID.
func (c *Caller) ShowSession(ctx context.Context, id string) (d Detail, err error) {
	err = c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(id), nil, &d)
	return d, err
}

// stopTimeout is enough for thousands of units, each of which may take a start or
// its own end to stop.
const stopTimeout = 5 * time.Minute

// StopSessions ends the sessions of those IDs for good.
func (c *Caller) StopSessions(ctx context.Context, ids []string) (done Stopped, err error) {
	err = c.patient(stopTimeout).call(ctx, http.MethodPost, "/sessions/stop", stopRequest{ids}, &done)
	return done, err
}
