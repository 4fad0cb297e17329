package unit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// modeTimeout bounds the wait for calls in flight, and for the proxy, when a
// unit's mode changes.
const modeTimeout = 5 * time.Second

// SetMode changes the mode of a unit that runs. Before it lets the backend write it waits
// until that has done with what a narrower token asked of it, which must not end with more
// rights than it began with. What is in flight may lose the right to write.
func (u *Unit) SetMode(ctx context.Context, readOnly bool) error {
	if err := u.awaitReady(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, modeTimeout)
	defer cancel()
	if !readOnly {
		if u.unsure {
			return errUnsure
		}
		if err := u.relay.Drain(ctx); err != nil {
			return err
		}
	}
	if err := u.setMode(ctx, Spec{ReadOnly: readOnly}.mode(), nil, 0); err != nil {
		return err
	}
	return u.awaitMode(ctx)
}

// errUnsure: a process that was killed may have left a call with the backend.
var errUnsure = errors.New("it is not known what the backend still works on")

// modeChange is a mode on its way into a unit's proxy.
type modeChange struct {
	id      string
	inForce chan struct{} // closed by the first answer to id
}

// mode is what a unit starts with.
func (s Spec) mode() control.Mode {
	switch {
	case s.Probe:
		return control.ModeProbe
	case s.ReadOnly:
		return control.ModeReadOnly
	}
	return control.ModeReadWrite
}

// setMode sends the mode, and with the first one the backend's standard input and what
// the unit may write to its log at once. It is in force when awaitMode returns nil.
func (u *Unit) setMode(ctx context.Context, mode control.Mode, stdin *os.File, output int) error {
	c := &modeChange{id: rand.Text(), inForce: make(chan struct{})}
	u.mu.Lock()
	u.mode = c
	u.mu.Unlock()
	m := control.Message{Type: control.TypeMode, ID: c.id, Mode: mode, Output: output}
	if err := u.near.Control.SendFile(ctx, m, stdin); err != nil {
		return fmt.Errorf("cannot set the session's mode: %w", err)
	}
	return nil
}

// awaitMode waits until fjmcp-session has confirmed the mode that was sent last.
func (u *Unit) awaitMode(ctx context.Context) error {
	u.mu.Lock()
	c := u.mode
	u.mu.Unlock()
	return u.await(ctx, c.inForce)
}

// modeConfirmed takes an answer of fjmcp-session, which may repeat itself.
func (u *Unit) modeConfirmed(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id != "" && u.mode != nil && u.mode.id == id {
		close(u.mode.inForce)
		u.mode.id = ""
	}
}
