package session

// HoldGate is a call that does not get to begin, until release.
func (s *Session) HoldGate() (release func()) {
	s.gate.RLock()
	return s.gate.RUnlock
}

// Loaded counts the sessions in memory.
func (m *Manager) Loaded() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}
