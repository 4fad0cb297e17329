// Package checks looks at all that a new user needs, one function for each: the
// database, the launcher. Each takes what it looks at as a function, so that it can be
// used where no broker runs.
package checks

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// localTimeout bounds a look at what is on this machine.
const localTimeout = 4 * time.Second

// Look is one look; its error is for the operator.
type Look func(context.Context) error

// Store looks whether the database can be read and written.
func Store(look Look) health.Check {
	return health.Check{Name: "store", Run: local(health.StoreFails, look), Every: time.Minute, Fresh: 5 * time.Second, Polled: true}
}

// Launcher looks whether the launcher could have units started.
func Launcher(look Look) health.Check {
	return health.Check{Name: "launcher", Run: local(health.LauncherFails, look), Every: time.Minute, Fresh: time.Second, Polled: true}
}

// local bounds look, whose error is that fault.
func local(fault health.Fault, look Look) Look {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, localTimeout)
		defer cancel()
		if err := look(ctx); err != nil {
			return &health.Problem{Fault: fault, Cause: err.Error()}
		}
		return nil
	}
}
