// Package checks looks at what a new user needs of the broker, one function for each. Each
// takes what it looks at as a function. What lies outside is in package outside.
package checks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// Names of checks that are asked for by name.
const (
	NameBackend   = "forgejo-mcp"
	NameDocuments = "client-documents"
	NamePolicy    = "policy"
)

// localTimeout bounds a look at what is on this machine.
const localTimeout = 4 * time.Second

// Look is one look; its error is for the operator.
type Look func(context.Context) error

// Store looks whether the database can be read and written.
func Store(look Look) health.Check {
	return health.Check{
		Name: "store", Every: time.Minute, Fresh: 5 * time.Second, Polled: true,
		Run: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, localTimeout)
			defer cancel()
			if err := look(ctx); err != nil {
				return &health.Problem{Fault: health.StoreFails, Cause: err.Error()}
			}
			return nil
		},
	}
}

// StoreKey looks whether the keys open all that is sealed in the database; unreadable counts
// what they do not. New users are served all the same.
func StoreKey(unreadable func(context.Context) (int, error)) health.Check {
	return health.Check{
		Name: "store-key", Every: 10 * time.Minute, Fresh: 5 * time.Second,
		Run: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, localTimeout)
			defer cancel()
			n, err := unreadable(ctx)
			switch {
			case err != nil:
				return &health.Problem{Fault: health.StoreFails, Cause: err.Error()}
			case n > 0:
				return &health.Problem{Fault: health.StoreKeyMissing, Warning: true, Cause: fmt.Sprintf("%d sealed values in the database can be read with no key", n)}
			}
			return nil
		},
	}
}

// Launcher looks whether the launcher could have units started, and calls changed when what
// units are made of is another than before.
func Launcher(look func(context.Context) (made string, err error), changed func()) health.Check {
	first, last := true, ""
	return health.Check{
		Name: "launcher", Every: time.Minute, Fresh: time.Second, Polled: true,
		Run: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, localTimeout)
			defer cancel()
			made, err := look(ctx)
			if made != last && !first {
				changed()
			}
			first, last = false, made
			return launcherProblem(err)
		},
	}
}

// Audit looks whether events can be written. Where they need not be, users are served all
// the same. look is audit.Logger.Check.
func Audit(look func() error) health.Check {
	return health.Check{
		Name: "audit", Every: time.Minute, Fresh: time.Second, Polled: true,
		Run: func(context.Context) error {
			err := look()
			if err == nil {
				return nil
			}
			return &health.Problem{Fault: health.AuditFails, Cause: err.Error(), Warning: !errors.Is(err, audit.ErrMute)}
		},
	}
}

func launcherProblem(err error) error {
	var refused *launchclient.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused.Code == launchproto.CodeConfig:
		return &health.Problem{Fault: health.BackendMissing, Cause: err.Error()}
	}
	return &health.Problem{Fault: health.LauncherFails, Cause: err.Error()}
}

// Policy looks whether the policy in force is that of the file, and all of its names are
// known. Users are served by what is in force all the same.
func Policy(look Look) health.Check {
	return health.Check{Name: NamePolicy, Every: time.Minute, Fresh: time.Minute, Polled: true, Run: look}
}

// endTimeout is longer than a session takes to end.
const endTimeout = 10 * time.Second

// Backend starts forgejo-mcp in a session's sandbox, without a user's token, waits for its
// first answer and ends it. start is session.Manager.Probe, which gives it as long as a
// session's: startTimeout.
func Backend(start Look, startTimeout time.Duration) health.Check {
	return health.Check{
		Name: NameBackend, Fresh: 10 * time.Minute, Timeout: startTimeout + endTimeout,
		Run: func(ctx context.Context) error { return backendProblem(start(ctx)) },
	}
}

// backendFaults are by the words of session.StartError.
var backendFaults = map[string]health.Fault{
	"backend_missing":        health.BackendMissing,
	"backend_not_executable": health.BackendNotExecutable,
	"backend_too_old":        health.BackendTooOld,
	"crashed":                health.BackendCrashes,
	"timeout":                health.BackendHangs,
	"protocol":               health.BackendStrange,
	"internal":               health.SandboxFails,
	"launcher":               health.LauncherFails,
}

// AfterStart names the check that a session's failure to start makes due; "" if none does.
func AfterStart(why control.Reason) string {
	if _, ok := backendFaults[string(why)]; ok {
		return NameBackend
	}
	return ""
}

func backendProblem(err error) error {
	var fail *session.StartError
	if !errors.As(err, &fail) {
		return err
	}
	cause := fail.Detail
	if n := len(fail.LastLines); n > 0 {
		cause += "; it said: " + strings.Join(fail.LastLines[max(0, n-3):], " ⏎ ")
	}
	return &health.Problem{Fault: backendFaults[string(fail.Reason)], Cause: cause}
}

// ClientDocuments looks whether what clients publish can be read. They register where it
// cannot, so that no user fails: it is a warning. While it is well it is looked at once,
// and again when a fetch could not connect (health.Health.Again).
func ClientDocuments(look Look) health.Check {
	return health.Check{
		Name: NameDocuments, Fresh: time.Hour,
		Run: func(ctx context.Context) error {
			if err := look(ctx); err != nil {
				return &health.Problem{Fault: health.NoWayOut, Cause: err.Error(), Warning: true}
			}
			return nil
		},
	}
}
