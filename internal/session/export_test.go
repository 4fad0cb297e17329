package session

// HoldGate is a call that does not get to begin, until release.
func (s *Session) HoldGate() (release func()) {
	s.gate.RLock()
	return s.gate.RUnlock
}
