package unit

import (
	"context"
	"os"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// Keeper keeps a unit's descriptors for the broker's next process, which gets them
// by the unit's id.
type Keeper interface {
	// Keep returns when they are kept. files stay the caller's.
	Keep(ctx context.Context, id string, files ...*os.File) error
	// Forget undoes Keep; an unknown id is no error.
	Forget(id string) error
}

// keep has our ends of the unit's sockets kept. Without them the session does not
// outlive this process, but works.
func (u *Unit) keep() {
	defer close(u.keeping)
	if u.cfg.Keeper == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), u.cfg.StartTimeout)
	defer cancel()
	files, err := u.near.Files()
	if err == nil {
		err = u.cfg.Keeper.Keep(ctx, u.id, files...)
		closeAll(files)
	}
	if err != nil {
		u.cfg.Log.Warn("a session will not outlive this process", "unit", u.Name(), "error", err)
		return
	}
	u.kept.Store(true)
	if u.Ending() { // meanwhile, and may have been forgotten before it was kept
		u.cfg.Forget(u.id)
	}
}

// AwaitKept waits until the descriptors of a unit that was launched are kept, or
// cannot be.
func (u *Unit) AwaitKept(ctx context.Context) error {
	return await(ctx, u.keeping)
}

// Kept reports whether the unit can continue under the broker's next process.
func (u *Unit) Kept() bool { return u.kept.Load() }

// Forget has the Keeper, if there is one, let go of a unit's descriptors.
func (cfg Config) Forget(unitID string) {
	if cfg.Keeper == nil {
		return
	}
	if err := cfg.Keeper.Forget(unitID); err != nil {
		cfg.Log.Warn("cannot have a unit's descriptors forgotten", "unit", launchproto.UnitName(unitID), "error", err)
	}
}
