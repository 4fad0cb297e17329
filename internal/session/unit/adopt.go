package unit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// State is what the broker's next process needs of a unit besides its descriptors.
// It is to be kept secret.
type State struct {
	Relay       relay.State `json:"relay"`
	Initialized bool        `json:"initialized,omitempty"`
}

// Left is a unit that outlived the process that started it.
type Left struct {
	ID    string
	Files []*os.File // as Keeper got them, in any order; Adopt closes them
	Epoch uint64     // other than that of any process before, see relay.Config
	State *State     // nil when the process before did not come to write it
	Used  time.Time  // when a request last came for it
}

// Close is for one that is not adopted.
func (l Left) Close() { closeAll(l.Files) }

// followTimeout bounds the wait for a backend that may have read half a line.
const followTimeout = 5 * time.Second

// Adopt continues with a unit of a process before. Nothing but the calls of its State
// is attended to yet: Attend and then Settle must follow, for which Prepare waits.
func Adopt(cfg Config, spec Spec, left Left) (*Unit, error) {
	defer left.Close()
	if left.Epoch > relay.MaxEpoch {
		return nil, errors.New("cannot adopt the unit: it has had too many processes")
	}
	near, err := nearFromFiles(left.Files)
	if err != nil {
		return nil, fmt.Errorf("cannot adopt the unit: %w", err)
	}
	rc := relay.Config{Epoch: left.Epoch}
	if left.State != nil {
		rc.State = &left.State.Relay
	} else {
		rc.Resync = true
		rc.State = &relay.State{Rest: lines.Rest{Output: []byte("\n")}} // ends a line that may have been cut off
	}
	u, err := attend(cfg, spec, left.ID, near, rc)
	if err != nil {
		return nil, err
	}
	u.tokenGiven.Store(true)
	u.kept.Store(true)
	u.initialized.Store(left.State != nil && left.State.Initialized)
	u.unsure = left.State == nil
	u.lastUsed, u.lastTouch = left.Used, time.Time{}
	return u, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Settle has fjmcp-session confirm the unit's mode and limits, after all that it reported
// meanwhile, and then that it has the user's token of now, which may be another. Where
// nothing is known of what the backend read last, it makes sure that the backend
// follows. After an error the unit must be stopped.
func (u *Unit) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, u.cfg.StartTimeout)
	defer cancel()
	err := u.confirm(ctx)
	if err == nil {
		err = u.renewToken(ctx)
	}
	if err == nil && u.unsure {
		err = u.follows(ctx)
	}
	if err != nil {
		return fmt.Errorf("cannot continue with the unit: %w", err)
	}
	close(u.ready)
	return nil
}

// confirm returns when fjmcp-session has taken all that it was sent, and has the mode and
// limits that the unit began with.
func (u *Unit) confirm(ctx context.Context) error {
	if err := u.setMode(ctx, u.spec.rights(), nil, 0); err != nil {
		return err
	}
	return u.awaitMode(ctx)
}

// renewToken hands the unit the stored token. Without one the next request finds
// out why.
func (u *Unit) renewToken(ctx context.Context) error {
	set, err := u.cfg.Tokens.Stored(ctx, u.spec.UserID)
	if err != nil {
		u.cfg.Log.Info("no token for a session that continues", "unit", u.Name(), "error", err)
		return nil
	}
	if err := u.push(ctx, set); err != nil {
		return err
	}
	return u.confirm(ctx) // else the next request could be there before the token
}

var errLost = errors.New("the backend does not follow any more")

// follows reports errLost when the backend does not answer in this epoch. A line
// that was cut off may have confused it.
func (u *Unit) follows(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, followTimeout, errLost)
	defer cancel()
	_, err := u.Inquire(ctx, mcp.MethodPing, struct{}{})
	return err
}

// awaitReady waits for Settle. relay.ErrClosed: the unit did not get there.
func (u *Unit) awaitReady(ctx context.Context) error { return u.await(ctx, u.ready) }

// Restored are the calls of Left.State, as Call returns them.
func (u *Unit) Restored() []*Call {
	var calls []*Call
	for _, c := range u.relay.Restored() {
		calls = append(calls, &Call{Call: c, unit: u})
	}
	return calls
}

// Suspend lets go of the unit, which runs on, and returns what the next process
// needs. On an error there is no State; the unit runs on all the same if it is
// Kept.
func (u *Unit) Suspend(ctx context.Context) (State, error) {
	if err := u.awaitReady(ctx); err != nil {
		return State{}, err
	}
	s, err := u.relay.Suspend(ctx)
	if err != nil {
		return State{}, err
	}
	u.silence() // what fjmcp-session reports from now on waits for the next process
	renewed := make(chan struct{})
	go func() {
		<-u.heard
		u.renewals.Wait()
		close(renewed)
	}()
	_ = await(ctx, renewed)
	return State{Relay: s, Initialized: u.initialized.Load()}, nil
}
