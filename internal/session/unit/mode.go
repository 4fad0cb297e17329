package unit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/proto/policy"
)

// modeTimeout bounds the wait for calls in flight, and for the proxy, when a
// unit's mode changes.
const modeTimeout = 5 * time.Second

// rights are what a unit may do at the forge: its mode, within limits.
type rights struct {
	mode   control.Mode
	limits policy.Limits
}

// rights are what a unit starts with.
func (s Spec) rights() rights {
	r := rights{control.ModeReadWrite, s.Limits}
	switch {
	case s.Probe:
		r.mode = control.ModeProbe
	case s.ReadOnly:
		r.mode = control.ModeReadOnly
	}
	return r
}

// within are rights that allow what r and others both do.
func (r rights) within(others rights) rights {
	if others.mode == control.ModeReadOnly {
		r.mode = control.ModeReadOnly
	}
	known := make(map[string]bool)
	all := slices.Concat(others.limits, r.limits)
	r.limits = slices.DeleteFunc(all, func(one policy.Rights) bool {
		key := policy.Limits{one}.Key()
		twice := known[key]
		known[key] = true
		return twice
	})
	return r
}

// SetMode changes the mode and the limits of a unit that runs. Before it lets the backend do
// more than before it waits until that has done with what was asked of it, which must not end
// with more rights than it began with. What is in flight may lose rights at once. Errors
// leave it open which of both are in force: the unit is to be stopped.
func (u *Unit) SetMode(ctx context.Context, readOnly bool, limits policy.Limits) error {
	if err := u.awaitReady(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, modeTimeout)
	defer cancel()
	before, after := u.rights(), Spec{ReadOnly: readOnly, Limits: limits}.rights()
	changed := u.LimitsKey() != limits.Key()
	if readOnly && !changed {
		return u.putInForce(ctx, after)
	}
	if u.unsure {
		return errUnsure
	}
	if changed { // which of them allow more cannot be told
		if err := u.putInForce(ctx, after.within(before)); err != nil {
			return err
		}
	}
	if err := u.relay.Drain(ctx); err != nil {
		return err
	}
	return u.putInForce(ctx, after)
}

// errUnsure: a process that was killed may have left a call with the backend.
var errUnsure = errors.New("it is not known what the backend still works on")

// modeChange is a mode with its limits on its way into a unit's proxy.
type modeChange struct {
	id       string
	rights   rights
	key      string        // of the limits
	answered chan struct{} // closed by the first answer to id
	inForce  string        // the key of the limits in force, as the answer says; constant then
}

// rights are those that were set last.
func (u *Unit) rights() rights {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mode == nil { // adopted, and not settled yet
		return u.spec.rights()
	}
	return u.mode.rights
}

// LimitsKey is policy.Limits.Key of those that are in force, or on their way.
func (u *Unit) LimitsKey() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mode == nil {
		return u.spec.Limits.Key()
	}
	return u.mode.key
}

func (u *Unit) putInForce(ctx context.Context, r rights) error {
	if err := u.setMode(ctx, r, nil, 0); err != nil {
		return err
	}
	return u.awaitMode(ctx)
}

// setMode sends the mode with its limits, and with the first one the backend's standard input
// and what the unit may write to its log at once. It is in force when awaitMode returns nil.
func (u *Unit) setMode(ctx context.Context, r rights, stdin *os.File, output int) error {
	c := &modeChange{id: rand.Text(), rights: r, key: r.limits.Key(), answered: make(chan struct{})}
	u.mu.Lock()
	u.mode = c
	u.mu.Unlock()
	m := control.Message{Type: control.TypeMode, ID: c.id, Mode: r.mode, Output: output}
	if len(r.limits) > 0 {
		m.Limits = r.limits.JSON()
	}
	if err := u.near.Control.SendFile(ctx, m, stdin); err != nil {
		return fmt.Errorf("cannot set the session's mode: %w", err)
	}
	return nil
}

// errOtherLimits: most often fjmcp-session is from before an upgrade, and knows of no
// policy.
var errOtherLimits = errors.New("fjmcp-session does not hold the limits that it was given")

// awaitMode waits until fjmcp-session has confirmed the mode that was sent last, with its
// limits.
func (u *Unit) awaitMode(ctx context.Context) error {
	u.mu.Lock()
	c := u.mode
	u.mu.Unlock()
	if err := u.await(ctx, c.answered); err != nil {
		return err
	}
	if c.inForce != c.key {
		return errOtherLimits
	}
	return nil
}

// modeConfirmed takes an answer of fjmcp-session, which may repeat itself.
func (u *Unit) modeConfirmed(answer control.Message) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if answer.ID != "" && u.mode != nil && u.mode.id == answer.ID {
		u.mode.inForce = answer.Key
		close(u.mode.answered)
		u.mode.id = ""
	}
}
