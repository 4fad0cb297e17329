package unit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/relay"
	"github.com/fjmcp/fjmcp-broker/internal/spawn"
)

// Prepare makes sure that the unit will live through a request: its reap timer
// re-armed, its token not about to end. relay.ErrClosed: it is going already.
func (u *Unit) Prepare(ctx context.Context) error {
	if err := u.awaitReady(ctx); err != nil {
		return err
	}
	u.mu.Lock()
	u.lastUsed = u.cfg.Now()
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
func (u *Unit) keepAwake(ctx context.Context) error {
	u.touch.Lock()
	defer u.touch.Unlock()
	now := u.cfg.Now()
	if now.Sub(u.lastTouch) < u.cfg.IdleTimeout/3 {
		return nil
	}
	err := u.cfg.Launcher.Touch(ctx, u.id)
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

// stayAwake touches the timer while calls are in flight, which may last longer
// than the idle time.
func (u *Unit) stayAwake() {
	tick := time.NewTicker(max(u.cfg.IdleTimeout/3, time.Second/3))
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
		ctx, cancel := context.WithTimeout(context.Background(), u.cfg.StartTimeout)
		if err := u.keepAwake(ctx); err != nil {
			u.cfg.Log.Warn("cannot keep a busy session awake", "unit", u.Name(), "error", err)
		}
		cancel()
	}
}
