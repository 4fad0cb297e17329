package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/rights"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/store"
)

// Config is what a Manager is made of. All fields but Rights, StartFailed and AfterFunc are
// required.
type Config struct {
	// Config is what all units have in common. Its Leaked and Allowances are
	// the Manager's own; a StartTimeout of 0 means 30 s, a ProbeTimeout of 0 means 2 s.
	unit.Config

	Store  *store.Store
	Audit  *audit.Logger
	Rights *rights.Rights // nil for no policy

	MaxAge  time.Duration // a session older than this ends
	PerUser int           // running units of one user
	Max     int           // running units in all

	// StartFailed, if set, is told why a session's unit did not start. It must not wait.
	StartFailed func(control.Reason)

	// AfterFunc is time.AfterFunc, but returns the timer's Stop; nil means that.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

// Manager owns all sessions of this broker.
type Manager struct {
	*door
	cfg      Config
	prestart *prestart // units for sessions to come, which have no place yet

	mu       sync.Mutex          // locked before prestart's
	sessions map[string]*Session // by id, loaded from the store on use
	shared   map[sharedKey]*Session
	attempts map[*Session]*attempt // under way
	units    map[string]member     // that run or start here, by id
	closed   bool                  // none starts any more
	probe    *unit.Unit            // under way; nil without
	// restoring is closed, and another in its place, when more sessions are restored;
	// nil when all are.
	restoring chan struct{}
}

// New returns a Manager. Call Expect, or Restore and Reconcile, before the first session.
func New(cfg Config) *Manager {
	cfg.StartTimeout = cmp.Or(cfg.StartTimeout, 30*time.Second)
	cfg.ProbeTimeout = cmp.Or(cfg.ProbeTimeout, 2*time.Second)
	if cfg.AfterFunc == nil {
		cfg.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	if cfg.StartFailed == nil {
		cfg.StartFailed = func(control.Reason) {}
	}
	m := &Manager{sessions: map[string]*Session{}, shared: map[sharedKey]*Session{}, attempts: map[*Session]*attempt{}, units: map[string]member{}}
	cfg.Allowances = new(unit.Allowances)
	cfg.Tokens.Lost(m.loginLost)
	cfg.Rights.Changed(m.rightsChanged)
	cfg.Leaked = func(of unit.Spec, name string) {
		cfg.Audit.Event(context.Background(), audit.Event{
			Kind: audit.TokenLeaked, User: cfg.Store.Known(context.Background(), of.UserID).Name, UserID: of.Subject, ReadOnly: audit.YesNo(of.ReadOnly), Session: of.Session, Unit: name, Outcome: "cut_off"})
	}
	m.cfg, m.door, m.prestart = cfg, &door{now: cfg.Now}, newPrestart(cfg)
	return m
}

// Reconcile stops units that no broker serves any more and marks the stored
// sessions dormant, ending those past their maximum age.
func (m *Manager) Reconcile(ctx context.Context) error {
	if err := m.stopStrays(ctx); err != nil {
		return err
	}
	old, err := m.cfg.Store.OldSessions(ctx, m.oldest())
	if err != nil {
		return err
	}
	for _, id := range old {
		if err := m.endStored(ctx, id); err != nil {
			return err
		}
	}
	units, err := m.cfg.Store.SessionUnits(ctx)
	if err != nil {
		return err
	}
	for unitID, id := range units {
		if m.find(unitID) != nil {
			continue
		}
		if err := m.cfg.Store.ClearSessionUnit(ctx, id, unitID); err != nil {
			return err
		}
	}
	return nil
}

// oldest is when sessions began that are too old now.
func (m *Manager) oldest() time.Time { return m.cfg.Now().Add(-m.cfg.MaxAge) }

func (m *Manager) aged(created time.Time) bool {
	return m.cfg.Now().Sub(created) >= m.cfg.MaxAge
}

// Prestart has a unit started for the first session of access's grant, which is to come
// soon. It does not wait for it. While the door is shut it does nothing.
func (m *Manager) Prestart(access model.Access) {
	leave, err := m.enter()
	if err != nil {
		return
	}
	defer leave()
	m.prestart.Start(access)
}

// Create starts a session for access with the client's initialize request and
// returns the backend's response to it. When that response is an error there is
// no session. Errors: *StartError, ErrBusy, ErrDraining, model.ErrForgejoDown,
// model.ErrForgejoGrantDead.
func (m *Manager) Create(ctx context.Context, access model.Access, initialize mcp.Message) (*Session, []byte, error) {
	id, began := m.prestart.Claim(access.GrantID, model.ReadOnly(access.Scope))
	return m.create(ctx, id, began, NewStreams(), access, initialize)
}

// CreateOn is Create for a transport that opens a session's streams before there
// is a session, and knows the id that it will have.
func (m *Manager) CreateOn(ctx context.Context, id string, streams *eventstore.Hub, access model.Access, initialize mcp.Message) (*Session, []byte, error) {
	return m.create(ctx, id, m.cfg.Now(), streams, access, initialize)
}

func (m *Manager) create(ctx context.Context, id string, began time.Time, streams *eventstore.Hub, access model.Access, initialize mcp.Message) (*Session, []byte, error) {
	initialize = offered(initialize)
	s := newSession(m, streams, model.Session{
		ID: id, UserID: access.User.ID, UserName: access.User.Name, Subject: access.User.Subject,
		ClientID: access.ClientID, ClientName: access.Client, GrantID: access.GrantID, Kind: model.SessionClient,
		Initialize: string(initialize.Raw), ReadOnly: model.ReadOnly(access.Scope), ViewReadOnly: access.ViewReadOnly, CreatedAt: began, LastUsedAt: m.cfg.Now(),
	})
	ctx, a := s.attempt(ctx)
	defer a.over()
	var answer mcp.Message
	u, err := m.start(ctx, s, func(ctx context.Context, u *unit.Unit) (err error) {
		if answer, err = u.Initialize(ctx, initialize); err == nil {
			answer, err = agreed(initialize, answer)
		}
		return err
	})
	if err != nil {
		return nil, nil, a.outcome(err)
	}
	response := answer.WithID(initialize.ID())
	if answer.IsError() {
		u.Stop(ctx)
		return nil, response, nil
	}
	m.mu.Lock()
	s.row.UnitID, s.row.Protocol, s.row.Server = u.ID(), answer.ResultString("protocolVersion"), said(answer)
	m.mu.Unlock()
	if err := m.cfg.Store.CreateSession(ctx, s.row); err != nil {
		u.Stop(ctx)
		if err = a.outcome(err); errors.Is(err, model.ErrRevoked) {
			m.cfg.Audit.Event(ctx, s.event(audit.SessionStopped, a.reason()))
		}
		return nil, nil, fmt.Errorf("cannot store the session: %w", err)
	}
	if err := m.establish(s, u, a); err != nil {
		return nil, nil, err
	}
	return s, response, nil
}

// establish has a stored session served by u. It ends the session if the attempt was ended
// after all that could have noticed.
func (m *Manager) establish(s *Session, u *unit.Unit, a *attempt) error {
	m.mu.Lock()
	delete(m.attempts, s)
	m.sessions[s.row.ID] = s
	serves := m.serveLocked(s, u)
	m.mu.Unlock()
	if !serves {
		s.recordDormant(u, false)
	}
	if refusal := a.outcome(nil); refusal != nil {
		return errors.Join(refusal, m.end(context.Background(), s, a.why))
	}
	return nil
}

// serve makes u the session's unit, unless it has ended already.
func (m *Manager) serve(s *Session, u *unit.Unit) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.serveLocked(s, u)
}

func (m *Manager) serveLocked(s *Session, u *unit.Unit) bool {
	_, runs := m.units[u.ID()]
	if runs {
		m.units[u.ID()] = member{Unit: u, Session: s, served: true}
		s.unit, s.row.UnitID = u, u.ID()
	}
	return runs
}

// LastInitialize returns the initialize request of the session that access's user
// and client used last, of those whose ids begin with prefix; model.ErrNotFound if
// there is none.
func (m *Manager) LastInitialize(ctx context.Context, prefix string, access model.Access) (mcp.Message, error) {
	row, err := m.cfg.Store.LastSession(ctx, access.User.ID, access.ClientID, prefix, m.oldest())
	if err != nil {
		return mcp.Message{}, err
	}
	return mcp.Parse([]byte(row.Initialize))
}

// ErrOtherView: a request in a session wants to read only, by its URL or a header, and the
// one that began it did not, or the other way round.
var ErrOtherView = errors.New("a session of another view")

// Get returns the session that a client began under that id if it belongs to
// access's user and client, is bound as access is by the policy, and may do no more than
// access, or is of access's grant and so will do no more; model.ErrNotFound for any other.
// ErrOtherView: it is access's, and may read only where access has not said so, or may
// write where it has.
func (m *Manager) Get(ctx context.Context, id string, access model.Access) (*Session, error) {
	s, err := m.lookup(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case s.row.Kind == model.SessionShared, s.row.UserID != access.User.ID, s.row.ClientID != access.ClientID:
		return nil, model.ErrNotFound
	case s.row.ViewReadOnly != access.ViewReadOnly:
		return nil, ErrOtherView
	case !s.covered(access) && !s.follows(access):
		return nil, model.ErrNotFound
	}
	if alike, err := s.boundAlike(ctx, access); err != nil || !alike {
		return nil, cmp.Or(err, model.ErrNotFound)
	}
	if m.aged(s.row.CreatedAt) {
		if err := m.end(ctx, s, tooOld); err != nil {
			m.cfg.Log.Error("cannot end a session that is too old; trying again later", "session", s.label, "error", err)
		}
		return nil, model.ErrNotFound
	}
	return s, nil
}

func (m *Manager) lookup(ctx context.Context, id string) (*Session, error) {
	s, err := m.awaitRestored(ctx, func() *Session { return m.sessions[id] })
	if err != nil || s != nil {
		return s, err
	}
	row, err := m.cfg.Store.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loadedLocked(row), nil
}

// loadedLocked returns the session of that row, which another request may have loaded
// meanwhile.
func (m *Manager) loadedLocked(row model.Session) *Session {
	s := m.sessions[row.ID]
	if s == nil {
		s = newSession(m, NewStreams(), row)
		m.sessions[row.ID] = s
	}
	return s
}

// Token is the credential.TokenFunc of this broker: the user's access token for a unit
// that is starting, once.
func (m *Manager) Token(unitID string) (string, error) {
	u := m.find(unitID)
	if u == nil {
		return "", fmt.Errorf("there is no unit %s", launchproto.UnitName(unitID))
	}
	return u.Token()
}
