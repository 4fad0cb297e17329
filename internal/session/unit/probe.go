package unit

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

const (
	// ProbeID is whose a probe is, and which session: in the journal, and where the
	// launcher counts starts.
	ProbeID = "healthprobe"
	// probeToken is no token.
	probeToken = "probe"
	// probeMaxAge is beyond the time of its start, for a broker that does not end it.
	probeMaxAge = time.Minute
	// probeEnd bounds the wait for its end.
	probeEnd = 5 * time.Second
)

// Probe is a unit that shows whether units can be started: as a session's, in all but the
// user. Its proxy answers the backend itself, and nothing reaches the forge.
type Probe struct{ u *Unit }

// NewProbe makes one. Run must follow.
func NewProbe(cfg Config) (*Probe, error) {
	cfg.Keeper = nil // it ends with this process
	u, err := New(cfg, Spec{Session: ProbeID, UserID: ProbeID, User: ProbeID, Probe: true, MaxAge: cfg.StartTimeout + probeMaxAge, Ended: func(*Unit) {}})
	if err != nil {
		return nil, err
	}
	u.token = model.ForgejoTokens{AccessToken: probeToken}
	return &Probe{u}, nil
}

// Unit is what the launcher is asked to start.
func (p *Probe) Unit() *Unit { return p.u }

// Run starts the unit, begins to speak with its backend, and ends it. Errors: *StartError,
// or ctx's.
func (p *Probe) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.u.cfg.StartTimeout, ErrStartTimeout)
	defer cancel()
	if err := p.u.Launch(ctx); err != nil {
		return err
	}
	_, err := p.u.Discover(ctx)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeEnd)
	defer cancel()
	p.u.Stop(end)
	return err
}
