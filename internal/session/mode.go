package session

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
)

// raiseTimeout bounds the wait for calls in flight, and for the proxy, when a
// session's mode is raised.
const raiseTimeout = 5 * time.Second

// ReadOnly reports whether the session may only read at the forge.
func (s *Session) ReadOnly() bool {
	s.manager.mu.Lock()
	defer s.manager.mu.Unlock()
	return s.row.ReadOnly
}

// covered reports whether access may do all that the session may.
func (s *Session) covered(access broker.Access) bool {
	return !oauth.ReadOnly(access.Scope) || s.ReadOnly()
}

// raise lets a read-only session write from now on if access may. The session
// stays read-only when it returns an error before the store has agreed.
func (s *Session) raise(ctx context.Context, access broker.Access) error {
	if oauth.ReadOnly(access.Scope) || !s.ReadOnly() {
		return nil
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	if !s.ReadOnly() { // another request was faster
		return nil
	}
	m := s.manager
	if err := m.cfg.Store.SetSessionReadOnly(ctx, s.row.ID, false); err != nil {
		return err
	}
	m.mu.Lock()
	s.row.ReadOnly = false
	m.mu.Unlock()
	u := s.running()
	if u == nil {
		return nil
	}
	if err := u.raise(ctx); err != nil {
		m.cfg.Log.Info("starting a session's unit anew to raise its mode", "unit", unitName(u.id), "cause", err)
		u.stop(context.WithoutCancel(ctx))
	}
	return nil
}

// raise waits until the child has done with what a narrower token asked of it,
// which must not end with more rights than it began with, and then lets it write.
func (u *unit) raise(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, raiseTimeout)
	defer cancel()
	if err := u.relay.Drain(ctx); err != nil {
		return err
	}
	if err := u.setMode(ctx, false); err != nil {
		return err
	}
	return u.awaitMode(ctx)
}

// modeChange is a mode on its way into a unit's proxy.
type modeChange struct {
	id      string
	inForce chan struct{} // closed by the first answer to id
}

// setMode sends the mode. It is in force when awaitMode returns nil.
func (u *unit) setMode(ctx context.Context, readOnly bool) error {
	c := &modeChange{id: rand.Text(), inForce: make(chan struct{})}
	u.mu.Lock()
	u.mode = c
	u.mu.Unlock()
	m := control.Message{Type: control.TypeMode, ID: c.id, Mode: control.ModeReadWrite}
	if readOnly {
		m.Mode = control.ModeReadOnly
	}
	if err := u.control.Send(ctx, m); err != nil {
		return fmt.Errorf("cannot set the session's mode: %w", err)
	}
	return nil
}

// awaitMode waits until fjmcp-session has confirmed the mode that was sent last.
func (u *unit) awaitMode(ctx context.Context) error {
	u.mu.Lock()
	c := u.mode
	u.mu.Unlock()
	select {
	case <-c.inForce:
		return nil
	case <-u.relay.Done():
		return relay.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// modeConfirmed takes an answer of fjmcp-session, which may repeat itself.
func (u *unit) modeConfirmed(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id != "" && u.mode.id == id {
		close(u.mode.inForce)
		u.mode.id = ""
	}
}
