package unit

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// Stop ends the unit, and waits until it is accounted for or ctx ends; in either case
// it ends.
func (u *Unit) Stop(ctx context.Context) {
	u.stopping.Store(true)
	over := make(chan struct{})
	go func() {
		defer close(over)
		u.remove(ctx)
		u.relay.Close()
		<-u.gone
	}()
	_ = await(ctx, over)
}

// Ending reports whether the unit is to end or has ended, so that it is gone in a
// moment.
func (u *Unit) Ending() bool { return u.stopping.Load() || u.leaving.Load() || u.Closed() }

// hangUp closes the backend's input everywhere, since fjmcp-session is to end it.
func (u *Unit) hangUp() {
	u.leaving.Store(true)
	u.relay.HangUp()
	u.cfg.Forget(u.id)
}

// AwaitGone waits until the unit has ended and Spec.Ended has returned. The error is
// ctx's.
func (u *Unit) AwaitGone(ctx context.Context) error {
	return await(ctx, u.gone)
}

// remove has the launcher stop what is left of the unit, its reap timer included,
// also when the request that wants it is over.
func (u *Unit) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.cfg.StartTimeout)
	defer cancel()
	if err := u.cfg.Launcher.Stop(ctx, u.id); err != nil {
		u.cfg.Log.Error("cannot stop a session unit; it ends by its reap timer", "unit", u.Name(), "error", err)
	}
}

// recordEnd records the unit's end, however it came.
func (u *Unit) recordEnd() {
	u.lookNoMore()
	if u.leaving.Load() { // it may take its time, which is not to be taken for a crash
		u.remove(context.Background())
	}
	select { // its last words may be a moment behind
	case <-u.heard:
	case <-time.After(2 * time.Second):
	}
	u.near.Control.Close()
	<-u.heard
	u.silence()
	u.cfg.Forget(u.id)
	if !u.stopping.Load() && !u.leaving.Load() { // a unit that ends by itself leaves its reap timer
		u.remove(context.Background())
	}
	u.spec.Ended(u)
	close(u.gone)
}

// Failure is the *StartError of a unit that has ended by itself, nil for one that
// was told to.
func (u *Unit) Failure() error {
	if u.stopping.Load() {
		return nil // its last words may not have come yet
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch u.last.Type {
	case control.TypeFailed:
		fail := &StartError{Reason: u.last.Reason, Detail: u.last.Detail, LastLines: u.last.LastLines}
		if fail.Reason == control.ReasonTokenRefused && u.unrenewed != "" {
			fail.Reason, fail.Detail = u.unrenewed, fail.Detail+", and it could not be renewed"
		}
		return fail
	case control.TypeExited:
		return nil
	}
	if u.leaving.Load() {
		return nil
	}
	return &StartError{Reason: control.ReasonCrashed, Detail: "the session ended without a word"}
}
