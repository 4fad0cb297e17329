// Package outside looks at what a new user needs besides the broker: the forge, its OAuth2
// application, and the way from the public URL. It can be used where no broker runs.
package outside

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// NameApplication is the name of the check that is asked for by name.
const NameApplication = "oauth-application"

// Forge resolves the forge's name, connects and asks for its version, which it gives to
// told.
func Forge(version func(context.Context) (string, error), told func(string)) health.Check {
	return health.Check{
		Name: "forge", Every: time.Minute, // always anew for the operator
		Run: func(ctx context.Context) error {
			v, err := version(ctx)
			told(v)
			return forgeProblem(err, false)
		},
	}
}

// Application asks the forge whether it knows the client ID and the secret, which costs it
// the hash of a secret. look is forgejo.Client.CheckClient.
func Application(look func(context.Context) error) health.Check {
	return health.Check{
		Name: NameApplication, Every: time.Hour, Fresh: time.Minute,
		Run: func(ctx context.Context) error { return forgeProblem(look(ctx), true) },
	}
}

// forgeProblem is a warning where a forge that is out of reach leaves open what was asked.
func forgeProblem(err error, asked bool) error {
	var e *forgejo.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && e.Kind == forgejo.Misconfigured && e.Code != "":
		return &health.Problem{Fault: health.ApplicationUnknown, Cause: err.Error()}
	case errors.As(err, &e) && (e.Kind == forgejo.Misconfigured || e.Status == http.StatusNotFound):
		return &health.Problem{Fault: health.ForgeURLWrong, Cause: err.Error()}
	}
	return &health.Problem{Fault: health.ForgeDown, Cause: err.Error(), Warning: asked}
}
