package session

import (
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/unit"
)

// Running counts the running sessions between a user and a client, and tells when
// one of them was last used; the zero time if none runs.
func (m *Manager) Running(userID, clientID string) (n int, lastUsed time.Time) {
	m.mu.Lock()
	var units []*unit.Unit
	for _, o := range m.units {
		if row := o.session.row; row.UserID == userID && row.ClientID == clientID {
			units = append(units, o.unit)
		}
	}
	m.mu.Unlock()
	for _, u := range units {
		if at := u.Used(); at.After(lastUsed) {
			lastUsed = at
		}
	}
	return len(units), lastUsed
}
