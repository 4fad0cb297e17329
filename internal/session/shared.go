package session

import (
	"context"
	"encoding/json"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// sharedKey names a shared session among those that have not ended.
type sharedKey struct {
	grantID  string
	readOnly bool
}

// Shared returns the session that serves the requests of access's grant and mode
// that name no session, and makes it at the first. No unit starts before its first
// use. One that is past its maximum age is replaced, and shortly before when it is
// idle, so that no call is cut off; a request that still holds it gets
// model.ErrNotFound, and may ask for it anew. model.ErrRevoked: the grant has ended.
func (m *Manager) Shared(ctx context.Context, access model.Access) (*Session, error) {
	for {
		s, err := m.findShared(ctx, access)
		if err != nil || !m.retires(s) {
			return s, err
		}
		if err := m.end(ctx, s, tooOld); err != nil {
			return nil, err
		}
	}
}

// retirement is how long before its maximum age a shared session is replaced when it
// is idle, at most a quarter of that age.
const retirement = 5 * time.Minute

func (m *Manager) retires(s *Session) bool {
	u := s.running()
	if u != nil && u.InFlight() > 0 {
		return m.aged(s.row.CreatedAt)
	}
	return m.aged(s.row.CreatedAt.Add(-min(retirement, m.cfg.MaxAge/4)))
}

// findShared gets it from memory, the store, or nothing.
func (m *Manager) findShared(ctx context.Context, access model.Access) (*Session, error) {
	key := sharedKey{access.GrantID, model.ReadOnly(access.Scope)}
	s, err := m.awaitRestored(ctx, func() *Session { return m.shared[key] })
	if err != nil || s != nil {
		return s, err
	}
	id, began := m.prestart.Claim(key.grantID, key.readOnly)
	row, err := m.cfg.Store.SharedSession(ctx, model.Session{
		ID: id, UserID: access.User.ID, ClientID: access.ClientID, GrantID: key.grantID,
		ReadOnly: key.readOnly, CreatedAt: began, LastUsedAt: m.cfg.Now(),
	})
	if row.ID != id {
		m.prestart.Release(id)
	}
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s = m.loadedLocked(row)
	m.shared[key] = s
	return s, nil
}

// Server wakes a shared session and tells what its backend says of itself. Errors
// are those of Call.
func (s *Session) Server(ctx context.Context, access model.Access) (server Server, err error) {
	err = s.use(ctx, access, func(*unit.Unit, func()) error {
		s.manager.mu.Lock()
		defer s.manager.mu.Unlock()
		server = s.server
		return nil
	})
	return server, err
}

// LogFrom has the backend of a shared session log from level on, one of MCP's,
// unless it logs more already. A modern backend is told with each request instead, and one that
// does not log not at all. A dormant session is not woken for it. The level holds
// for the session's next units as well.
func (s *Session) LogFrom(ctx context.Context, level string) error {
	return s.level.ask(ctx, level)
}

// Subscribe wakes a shared session whose backend is of a handshake revision and
// opens a subscription to what it says besides all calls. A modern backend honours
// nothing this way: it takes subscriptions/listen as a call. A subscription
// outlives units but starts none, and keeps none awake. Errors are those of Call and of
// subscription.Set.Subscribe.
func (s *Session) Subscribe(ctx context.Context, access model.Access, f subscription.Filter) (sub *subscription.Subscription, err error) {
	err = s.use(ctx, access, func(_ *unit.Unit, placed func()) error {
		placed()
		sub, err = s.subscriptions.Subscribe(ctx, f)
		return err
	})
	return sub, err
}

// discover speaks with a fresh unit of a shared session, and has it do what the last
// one did besides answering calls.
func (s *Session) discover(ctx context.Context, u *unit.Unit) error {
	server, err := u.Discover(ctx)
	if err != nil {
		return err
	}
	if err := s.keepServer(ctx, server); err != nil {
		return err
	}
	return s.attach(ctx, u, server)
}

// keepServer notes what the backend says of itself, also for the next process.
func (s *Session) keepServer(ctx context.Context, server Server) error {
	said, err := json.Marshal(server)
	if err != nil {
		return err
	}
	m := s.manager
	m.mu.Lock()
	s.server = server
	same := s.row.Server == string(said)
	s.row.Server, s.row.Protocol = string(said), server.Protocol
	m.mu.Unlock()
	if same {
		return nil
	}
	return m.cfg.Store.SetSessionServer(ctx, s.row.ID, string(said), server.Protocol)
}
