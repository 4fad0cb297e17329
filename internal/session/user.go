package session

import "time"

// Running counts the running sessions between a user and a client, and tells when
// one of them was last used; the zero time if none runs.
func (m *Manager) Running(userID, clientID string) (n int, lastUsed time.Time) {
	m.mu.Lock()
	var units []*unit
	for _, u := range m.units {
		if row := u.session.row; row.UserID == userID && row.ClientID == clientID {
			units = append(units, u)
		}
	}
	m.mu.Unlock()
	for _, u := range units {
		if at := u.used(); at.After(lastUsed) {
			lastUsed = at
		}
	}
	return len(units), lastUsed
}
