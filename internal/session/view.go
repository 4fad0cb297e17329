package session

import (
	"context"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
	"github.com/fjmcp/fjmcp-broker/internal/unit"
)

// View is a session at one moment.
type View struct {
	broker.Session // LastUsedAt as its unit knows it

	Label string        // by which the journal knows it
	Unit  string        // what systemd calls it; "" while dormant
	Calls []*relay.Call // in flight, the oldest first
	// HeldUntil is until when it is not started, since its backend keeps ending by
	// itself; zero if it may.
	HeldUntil time.Time
}

// Running reports whether the session has a unit.
func (v View) Running() bool { return v.Unit != "" }

// List views all sessions, the longest unused first as far as stored.
func (m *Manager) List(ctx context.Context) ([]View, error) {
	rows, err := m.cfg.Store.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]View, len(rows))
	for i, row := range rows {
		list[i] = m.view(row)
	}
	return list, nil
}

func (m *Manager) view(row broker.Session) View {
	v := View{Session: row, Label: label(row.ID)}
	m.mu.Lock()
	s := m.sessions[row.ID]
	if s != nil && s.circuit.left(m.cfg.Now()) > 0 {
		v.HeldUntil = s.circuit.until
	}
	m.mu.Unlock()
	if s == nil {
		return v
	}
	if u := s.running(); u != nil {
		v.runs(u)
	}
	return v
}

func (v *View) runs(u *unit.Unit) {
	v.Unit, v.LastUsedAt, v.Calls = u.Name(), u.Used(), u.Pending()
}

// Awake views the sessions whose units run or start, without the store.
func (m *Manager) Awake() []View {
	m.mu.Lock()
	var list []View
	var units []*unit.Unit
	for _, o := range m.units {
		list = append(list, View{Session: o.session.row, Label: o.session.label})
		units = append(units, o.unit)
	}
	m.mu.Unlock()
	for i, u := range units {
		list[i].runs(u)
	}
	return list
}

// Stop ends the session of that Mcp-Session-Id for good, for the operator.
// broker.ErrNotFound: it has ended.
func (m *Manager) Stop(ctx context.Context, id string) error {
	s, err := m.lookup(ctx, id)
	if err != nil {
		return err
	}
	return m.end(ctx, s, "operator")
}
