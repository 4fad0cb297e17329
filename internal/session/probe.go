package session

import (
	"context"

	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// Probe has a unit started that is nobody's, waits until its backend answers, and ends it:
// whether sessions can be started. It is outside the limits. Not to be called twice at the
// same time. Errors are those of unit.Probe.Run.
func (m *Manager) Probe(ctx context.Context) error {
	p, err := unit.NewProbe(m.cfg.Config)
	if err != nil {
		return err
	}
	m.setProbe(p.Unit())
	defer m.setProbe(nil)
	return p.Run(ctx)
}

func (m *Manager) setProbe(u *unit.Unit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.probe = u
}
