package client

import (
	"context"
	"errors"
	"os"
	"time"
)

// ErrGone says that the session's unit does not run (any more).
var ErrGone = errors.New("session unit is gone")

// Spec is what a session is started with.
type Spec struct {
	UnitID    string        // launchproto.CheckID
	AccountID string        // id of whose it is, launchproto.CheckID
	SessionID string        // id for the journal, launchproto.CheckID; not the Mcp-Session-Id
	Idle      time.Duration // reap after this long without Touch; whole seconds, at least 1 s
	MaxAge    time.Duration // end at the latest after this; whole seconds, at least 1 s
	Token     string        // of the user at the forge; PID 1 asks the broker for it instead
	MCP       *os.File      // the session's end of the MCP stream socket
	Control   *os.File      // the session's end of the control socket
}

// Launcher starts and stops session units. Start returns when the unit's main
// process runs; the caller closes Spec's files whatever the outcome.
type Launcher interface {
	Start(ctx context.Context, spec Spec) error
	// Touch re-arms the reap timer. ErrGone: the unit has ended or is ending.
	Touch(ctx context.Context, unitID string) error
	// Stop ends the unit and all its processes. Absent units are no error.
	Stop(ctx context.Context, unitID string) error
	// List names the ids of all units that exist.
	List(ctx context.Context) ([]string, error)
	// Check reports whether sessions could be started.
	Check(ctx context.Context) error
	// Close ends what must not outlive the broker (the process launcher's
	// sessions) and releases resources.
	Close() error
}
