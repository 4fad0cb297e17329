package unit

import (
	"context"
	"errors"
	"fmt"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Prepare makes sure that the unit will live through a request: its reap timer
// re-armed, its token the user's last and not about to end. relay.ErrClosed: it is going already.
func (u *Unit) Prepare(ctx context.Context) error {
	if err := u.awaitReady(ctx); err != nil {
		return err
	}
	u.mu.Lock()
	u.lastUsed = u.cfg.Now()
	stale := u.lastUsed.Add(refreshAhead).After(u.token.ExpiresAt) || u.changes != u.cfg.Tokens.Changes(u.spec.UserID)
	u.mu.Unlock()
	if err := u.keepAwake(ctx); err != nil || !stale {
		return err
	}
	set, err := u.current(ctx)
	if err == nil {
		err = u.push(ctx, set)
	}
	return err
}

// keepAwake touches the reap timer when the last touch is older than a third of
// the idle time, and waits until systemd has done it.
func (u *Unit) keepAwake(ctx context.Context) error {
	u.touch.Lock()
	defer u.touch.Unlock()
	now := u.cfg.Now()
	if now.Sub(u.lastTouch) < u.cfg.IdleTimeout/3 {
		return nil
	}
	err := u.cfg.Launcher.Touch(ctx, u.id)
	if errors.Is(err, launchclient.ErrGone) {
		u.leaving.Store(true)
		u.relay.Close()
		return relay.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("cannot keep the session awake: %w", err)
	}
	u.lastTouch = now
	return nil
}

// stayAwake touches the timer, from time to time, while calls are in flight, which
// may last longer than the idle time.
func (u *Unit) stayAwake() {
	if u.relay.InFlight() > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), u.cfg.StartTimeout)
		defer cancel()
		if err := u.keepAwake(ctx); err != nil {
			u.cfg.Log.Warn("cannot keep a busy session awake", "unit", u.Name(), "error", err)
		}
	}
	u.lookAgain()
}

// lookAgain has stayAwake called later, unless the unit has ended.
func (u *Unit) lookAgain() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.Closed() {
		u.look = time.AfterFunc(max(u.cfg.IdleTimeout/3, time.Second/3), u.stayAwake)
	}
}

func (u *Unit) lookNoMore() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.look != nil {
		u.look.Stop()
	}
}
