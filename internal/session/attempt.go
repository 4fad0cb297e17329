package session

import (
	"context"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
)

// attempt is the start of one session's unit, until the unit serves it. What ends the
// session ends the attempt, so that it need not wait for a backend that does not
// answer.
type attempt struct {
	session *Session
	cancel  context.CancelFunc

	// under manager.mu
	refusal error  // what those are told who wait for it, once it was ended
	why     string // it was ended, for the audit
}

// attempt begins one; over must follow.
func (s *Session) attempt(ctx context.Context) (context.Context, *attempt) {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{session: s, cancel: cancel}
	m := s.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts[s] = a
	return ctx, a
}

// over says that nothing is to be ended any more.
func (a *attempt) over() {
	m := a.session.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	a.leaveLocked()
	a.cancel()
}

func (a *attempt) leaveLocked() {
	if m := a.session.manager; m.attempts[a.session] == a {
		delete(m.attempts, a.session)
	}
}

// outcome is err, unless the attempt was ended.
func (a *attempt) outcome(err error) error {
	m := a.session.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.refusal != nil {
		return a.refusal
	}
	return err
}

// interrupt ends the attempts of the sessions that are meant. Those who wait for one
// get refusal. A session that is not yet stored ends with its attempt. The sessions
// whose attempts were ended are returned.
func (m *Manager) interrupt(refusal error, why string, meant func(model.Session) bool) (cut []*Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s, a := range m.attempts {
		if a.refusal == nil && meant(s.row) {
			a.refusal, a.why = refusal, why
			a.cancel()
			cut = append(cut, s)
		}
	}
	return cut
}
