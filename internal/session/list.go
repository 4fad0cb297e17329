package session

import (
	"context"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
)

// List gives the operator's view of all sessions, the longest unused first.
func (m *Manager) List(ctx context.Context) ([]admin.Session, error) {
	rows, err := m.cfg.Store.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]admin.Session, len(rows))
	for i, row := range rows {
		list[i] = m.view(row)
	}
	return list, nil
}

func (m *Manager) view(row broker.Session) admin.Session {
	v := admin.Session{
		ID: label(row.ID), User: row.UserName, Client: row.ClientName, ClientID: row.ClientID, Kind: string(row.Kind), State: admin.Dormant,
		Protocol: row.Protocol, Created: row.CreatedAt, LastUsed: row.LastUsedAt, ReadOnly: row.ReadOnly,
	}
	m.mu.Lock()
	s := m.sessions[row.ID]
	m.mu.Unlock()
	if s == nil {
		return v
	}
	if u := s.running(); u != nil {
		v.State, v.Unit, v.LastUsed, v.InFlight = admin.Running, u.Name(), u.Used(), u.InFlight()
	}
	return v
}
