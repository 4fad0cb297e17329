package session

import (
	"context"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/unit"
	"github.com/fjmcp/fjmcp-broker/internal/warm"
)

func (m *Manager) newPool() *warm.Pool {
	return warm.New(warm.Config{
		Unit: m.unitConfig(), MaxAge: m.cfg.MaxAge, Label: label, Grant: m.cfg.Store.Grant, AfterFunc: m.cfg.AfterFunc,
	})
}

// Warm has a unit started for the first session of access's grant, which is to come
// soon. It does not wait for it. While the door is shut it does nothing.
func (m *Manager) Warm(access broker.Access) {
	leave, err := m.door.enter()
	if err != nil {
		return
	}
	defer leave()
	m.warm.Start(access)
}

// Waiting counts the units that were started for sessions to come.
func (m *Manager) Waiting() int { return m.warm.Len() }

// warmed gives s the unit that was started for it: within the limits, its token good
// and its idle time begun anew. It is nil if there is none that works. Errors are those
// of reserve.
func (m *Manager) warmed(ctx context.Context, s *Session) (*unit.Unit, error) {
	w := m.warm.Take(ctx, s.row.ID)
	if w == nil {
		return nil, nil
	}
	if err := m.reserve(ctx, s, w.Unit); err != nil {
		w.Stop(ctx)
		return nil, err
	}
	if !w.Bind(warm.Owner{Other: s.other, Ended: s.unitEnded}) {
		m.mu.Lock()
		delete(m.units, w.ID())
		m.mu.Unlock()
		return nil, nil
	}
	if err := w.Prepare(ctx); err != nil {
		w.Stop(ctx)
		return nil, nil
	}
	return w.Unit, nil
}
