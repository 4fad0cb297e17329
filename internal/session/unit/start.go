package unit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

// Reasons of a StartError besides those of package control.
const (
	// ReasonTimeout: the backend did not answer initialize in time.
	ReasonTimeout control.Reason = "timeout"
	// ReasonLauncher: the launcher could not start the unit.
	ReasonLauncher control.Reason = "launcher"
)

// StartError says why a session could not start, or ended. Reason is fit for a
// client, Detail for the operator only.
type StartError struct {
	Reason    control.Reason
	Detail    string
	LastLines []string // end of the backend's standard error

	RetryAfter time.Duration // nothing is tried before; 0 if anything may be tried at once
}

// Error names the reason and the detail.
func (e *StartError) Error() string {
	return fmt.Sprintf("cannot run the session (%s): %s", e.Reason, e.Detail)
}

// ErrStartTimeout is to be the cause of a context that bounds Initialize by
// Config.StartTimeout.
var ErrStartTimeout = errors.New("the session did not start in time")

// launchFailure tells a client's reason from the launcher's error.
func launchFailure(err error) *StartError {
	var refused *launchclient.Error
	if errors.As(err, &refused) && refused.Code == launchproto.CodeConfig {
		return &StartError{Reason: control.ReasonBackendMissing, Detail: err.Error()}
	}
	return &StartError{Reason: ReasonLauncher, Detail: err.Error()}
}

// Initialize sends the initialize request once the mode is in force, and returns
// the backend's answer, which may be an error of its own. Errors: *StartError, or
// ctx's.
func (u *Unit) Initialize(ctx context.Context, request mcp.Message) (mcp.Message, error) {
	err := u.awaitMode(ctx)
	var answer mcp.Message
	if err == nil {
		answer, err = u.ask(ctx, request)
	}
	if err == nil {
		err = u.checkVersion(answer.ResultField("serverInfo"))
	}
	if err != nil {
		return mcp.Message{}, u.startFailure(ctx, err)
	}
	return answer, nil
}

// startFailure words why there was no first answer, or none to continue with.
func (u *Unit) startFailure(ctx context.Context, err error) error {
	if errors.Is(err, relay.ErrClosed) {
		err = cmp.Or(u.AwaitGone(ctx), err)
	}
	switch {
	case errors.Is(err, relay.ErrClosed):
		if fail := u.Failure(); fail != nil {
			if u.GrantDead() { // which is why, and what the client is told
				return errors.Join(model.ErrForgejoGrantDead, fail)
			}
			return fail
		}
		if u.GrantDead() { // it was ended for that
			return model.ErrForgejoGrantDead
		}
		return &StartError{Reason: control.ReasonCrashed, Detail: "the backend ended before it answered its first request"}
	case errors.Is(err, ErrStartTimeout):
		return &StartError{Reason: ReasonTimeout, Detail: fmt.Sprintf("no answer to initialize within %v", u.cfg.StartTimeout)}
	}
	return err
}

// Replay has a fresh unit answer the initialize request a session began with, and
// tells it that the client has taken the answer. Errors are those of Initialize.
func (u *Unit) Replay(ctx context.Context, initialize mcp.Message) error {
	answer, err := u.Initialize(ctx, initialize)
	if err != nil {
		return err
	}
	if answer.IsError() {
		return &StartError{Reason: control.ReasonCrashed, Detail: "the backend refused the replayed initialize"}
	}
	return u.Notify(ctx, mcp.Initialized())
}
