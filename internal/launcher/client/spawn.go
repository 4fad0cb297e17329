// Package client starts, touches and stops sessions: Systemd through
// fjmcp-launcher's socket, Process directly as child processes where systemd is
// not PID 1. Both give fjmcp-session the same contract: the MCP socket as
// descriptor 0, the control socket as descriptor 1, the user's token as
// $CREDENTIALS_DIRECTORY/forgejo-token.
package client

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
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
	// Check reports whether sessions could be started. made tells one state of what they
	// are made of from another.
	Check(ctx context.Context) (made string, err error)
	// Close ends what must not outlive the broker (the process launcher's
	// sessions) and releases resources.
	Close() error
}

// Error is a launcher's refusal. Its text is for the operator's journal, never
// for a client. errors.Is(err, ErrGone) holds for code gone.
type Error struct {
	Code    launchproto.Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// Is makes CodeGone match ErrGone.
func (e *Error) Is(target error) bool {
	return target == ErrGone && e.Code == launchproto.CodeGone
}

// LimitsError says that not so many sessions can live at once. Each fault is a sentence
// for the operator.
type LimitsError struct{ Faults []string }

func (e *LimitsError) Error() string { return strings.Join(e.Faults, "; ") }
