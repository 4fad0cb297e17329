package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/audit"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
	"github.com/fjmcp/fjmcp-broker/internal/spawn"
)

// refreshAhead is how long before its end a Forgejo token is replaced in a
// running unit.
const refreshAhead = 5 * time.Minute

// unit is one running fjmcp-session@<id>.service, or its like under the process
// launcher.
type unit struct {
	id      string
	session *Session
	manager *Manager
	control *control.Conn
	relay   *relay.Relay
	gone    chan struct{} // closed when the unit has ended and is accounted for
	heard   chan struct{} // closed when the control socket has said its last

	tokenTaken  atomic.Bool // the credential was handed over
	initialized atomic.Bool // notifications/initialized was sent
	grantDead   atomic.Bool // the forge refused the login for good
	stopping    atomic.Bool // we end it, so its end is no failure

	touch     sync.Mutex // one touch at a time
	lastTouch time.Time  // under touch

	mu       sync.Mutex
	lastUsed time.Time
	token    broker.ForgejoTokens
	last     control.Message // TypeFailed or TypeExited
	mode     *modeChange     // the latest
	refusals refusals
}

// far holds the session's ends of a unit's sockets until they are handed over.
type far struct{ mcp, control *os.File }

func (f far) close() {
	f.mcp.Close()
	f.control.Close()
}

// newUnit makes a unit's sockets and begins to attend to our ends of them.
// Closing its relay undoes it.
func (m *Manager) newUnit(s *Session) (*unit, far, error) {
	ours, theirs, err := streamPair()
	if err != nil {
		return nil, far{}, err
	}
	local, remote, err := control.Pair()
	if err != nil {
		ours.Close()
		theirs.Close()
		return nil, far{}, err
	}
	u := &unit{id: newUnitID(), session: s, manager: m, control: local, gone: make(chan struct{}), heard: make(chan struct{}), lastUsed: m.cfg.Now()}
	u.lastTouch = u.lastUsed
	u.relay = relay.New(relay.Config{Conn: ours, Other: s.other, Log: m.cfg.Log.With("unit", unitName(u.id))})
	// It waits in the socket for fjmcp-session, which is read-only without it.
	if err := u.setMode(context.Background(), s.ReadOnly()); err != nil {
		u.relay.Close()
		local.Close()
		theirs.Close()
		remote.Close()
		return nil, far{}, err
	}
	go u.listen()
	go u.stayAwake()
	go u.watch()
	return u, far{theirs, remote}, nil
}

// launch has the unit started and hands over its sockets.
func (u *unit) launch(ctx context.Context, ends far) error {
	m, row := u.manager, u.session.row
	return m.cfg.Launcher.Start(ctx, spawn.Spec{
		UnitID: u.id, SessionID: u.session.Label(), User: row.UserName,
		Idle: m.cfg.IdleTimeout, MaxAge: row.CreatedAt.Add(m.cfg.MaxAge).Sub(m.cfg.Now()),
		MCP: ends.mcp, Control: ends.control,
	})
}

// streamPair makes the MCP socket: our end as a connection, the child's as a
// file to hand over.
func streamPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "mcp"), os.NewFile(uintptr(fds[1]), "mcp-remote")
	defer near.Close()
	conn, err := net.FileConn(near)
	if err != nil {
		far.Close()
		return nil, nil, fmt.Errorf("cannot use the socket pair: %w", err)
	}
	return conn, far, nil
}

// closed reports whether the child can no longer be spoken to.
func (u *unit) closed() bool {
	select {
	case <-u.relay.Done():
		return true
	default:
		return false
	}
}

// prepare makes sure that the unit will live through a request: its reap timer
// re-armed, its token not about to end. relay.ErrClosed: it is going already.
func (u *unit) prepare(ctx context.Context) error {
	u.mu.Lock()
	u.lastUsed = u.manager.cfg.Now()
	stale := u.lastUsed.Add(refreshAhead).After(u.token.ExpiresAt)
	u.mu.Unlock()
	if err := u.keepAwake(ctx); err != nil {
		return err
	}
	if stale {
		return u.refresh(ctx)
	}
	return nil
}

// keepAwake touches the reap timer when the last touch is older than a third of
// the idle time, and waits until systemd has done it.
func (u *unit) keepAwake(ctx context.Context) error {
	u.touch.Lock()
	defer u.touch.Unlock()
	now := u.manager.cfg.Now()
	if now.Sub(u.lastTouch) < u.manager.cfg.IdleTimeout/3 {
		return nil
	}
	err := u.manager.cfg.Launcher.Touch(ctx, u.id)
	if errors.Is(err, spawn.ErrGone) {
		u.relay.Close()
		return relay.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("cannot keep the session awake: %w", err)
	}
	u.lastTouch = now
	return nil
}

// refresh hands the unit the user's current token when that is another.
func (u *unit) refresh(ctx context.Context) error {
	set, err := u.manager.cfg.Tokens.Token(ctx, u.session.row.UserID)
	if err != nil {
		return err
	}
	return u.push(ctx, set)
}

func (u *unit) push(ctx context.Context, set broker.ForgejoTokens) error {
	u.mu.Lock()
	same := set.AccessToken == u.token.AccessToken
	u.token = set
	u.mu.Unlock()
	if same {
		return nil
	}
	u.grantDead.Store(false) // a login has revived it
	return u.control.Send(ctx, control.Message{Type: control.TypeToken, Token: set.AccessToken})
}

func (u *unit) fetchToken(ctx context.Context) (string, error) {
	set, err := u.manager.cfg.Tokens.Token(ctx, u.session.row.UserID)
	if err != nil {
		return "", err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.token = set
	return set.AccessToken, nil
}

// stop ends the unit and waits until it is accounted for.
func (u *unit) stop(ctx context.Context) {
	u.stopping.Store(true)
	u.remove(ctx)
	u.relay.Close()
	<-u.gone
}

// remove has the launcher stop what is left of the unit, its reap timer included,
// also when the request that wants it is over.
func (u *unit) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.manager.cfg.StartTimeout)
	defer cancel()
	if err := u.manager.cfg.Launcher.Stop(ctx, u.id); err != nil {
		u.manager.cfg.Log.Error("cannot stop a session unit; it ends by its reap timer", "unit", unitName(u.id), "error", err)
	}
}

// listen takes what fjmcp-session reports, until it has ended.
func (u *unit) listen() {
	defer close(u.heard)
	for {
		msg, err := u.control.Receive(context.Background())
		if err != nil {
			return
		}
		switch msg.Type {
		case control.TypeUnauthorized:
			go u.renew()
		case control.TypeAck:
			u.modeConfirmed(msg.ID)
		case control.TypeRefused:
			u.refused(msg)
		case control.TypeFailed, control.TypeExited:
			u.mu.Lock()
			u.last = msg
			u.mu.Unlock()
		}
	}
}

var errNoOther = errors.New("the forge refuses the current token, and there is no other")

// renew answers the unit's report that the forge refused its token.
func (u *unit) renew() {
	ctx, cancel := context.WithTimeout(context.Background(), u.manager.cfg.StartTimeout)
	defer cancel()
	u.mu.Lock()
	stale := u.token.AccessToken
	u.mu.Unlock()
	set, err := u.manager.cfg.Tokens.Renew(ctx, u.session.row.UserID, stale)
	if err == nil && set.AccessToken == stale {
		err = errNoOther
	}
	if err == nil {
		err = u.push(ctx, set)
	}
	if err == nil {
		return
	}
	u.grantDead.Store(errors.Is(err, broker.ErrForgejoGrantDead))
	u.manager.cfg.Log.Warn("cannot renew the Forgejo token of a session", "unit", unitName(u.id), "user", u.session.row.UserName, "error", err)
	_ = u.control.Send(ctx, control.Message{Type: control.TypeNoToken})
}

// stayAwake touches the timer while calls are in flight, which may last longer
// than the idle time.
func (u *unit) stayAwake() {
	tick := time.NewTicker(max(u.manager.cfg.IdleTimeout/3, time.Second/3))
	defer tick.Stop()
	for {
		select {
		case <-u.relay.Done():
			return
		case <-tick.C:
		}
		if u.relay.InFlight() == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), u.manager.cfg.StartTimeout)
		if err := u.keepAwake(ctx); err != nil {
			u.manager.cfg.Log.Warn("cannot keep a busy session awake", "unit", unitName(u.id), "error", err)
		}
		cancel()
	}
}

// watch accounts for the unit's end, however it comes.
func (u *unit) watch() {
	<-u.relay.Done()
	select { // its last words may be a moment behind
	case <-u.heard:
	case <-time.After(2 * time.Second):
	}
	u.control.Close()
	<-u.heard
	m := u.manager
	if !u.stopping.Load() { // a unit that ends by itself leaves its reap timer
		u.remove(context.Background())
	}
	m.mu.Lock()
	delete(m.units, u.id)
	s := u.session
	dormant := s.unit == u
	if dormant {
		s.unit, s.row.UnitID = nil, ""
	}
	m.mu.Unlock()
	if dormant {
		u.settle()
	}
	close(u.gone)
}

// settle records that the session is dormant, and why.
func (u *unit) settle() {
	ctx, m, s := context.Background(), u.manager, u.session
	err := errors.Join(m.cfg.Store.SetSessionUnit(ctx, s.row.ID, ""), m.cfg.Store.TouchSession(ctx, s.row.ID, u.used()))
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		m.cfg.Log.Error("cannot record that a session is dormant", "session", s.Label(), "error", err)
	}
	if fail := u.failure(); fail != nil && !u.stopping.Load() {
		u.report(fail)
		return
	}
	m.cfg.Audit.Event(ctx, s.event(audit.SessionReaped, "dormant"))
}

func (u *unit) used() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lastUsed
}
