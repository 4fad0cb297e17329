package session_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

func (m *machine) busy(s *modelled) bool {
	for _, c := range m.owed {
		if c.session == s {
			return true
		}
	}
	return false
}

// held reports whether the session's circuit may be open: it has died three times
// and is not known to have lived since.
func (m *machine) held(s *modelled) bool {
	return len(s.deaths) >= 3 && m.stage.now().Sub(s.deaths[len(s.deaths)-1]) < 5*time.Minute
}

// access is what the session's client sends it with.
func (m *machine) access(s *modelled) model.Access {
	a := s.login.Access
	if s.readOnly {
		a.Scope = "forgejo:read"
	}
	return a
}

// find is what a transport does first.
func (m *machine) find(s *modelled, access model.Access) (*session.Session, error) {
	if s.shared {
		return m.manager.Shared(m.Context(), access)
	}
	return m.manager.Get(m.Context(), s.id, access)
}

// call makes a call and expects it to begin, or to be turned away as the model
// says, upon which it returns nil.
func (m *machine) call(s *modelled, access model.Access, tool string) (n int, c *session.Call) {
	m.Helper()
	aged := m.stage.now().Sub(s.created) >= modelMaxAge
	found, err := m.find(s, access)
	if aged {
		m.ended(s)
		if !s.shared && !errors.Is(err, model.ErrNotFound) {
			m.Fatalf("a session past its age: %v", err)
		}
		if s.shared { // another has taken its place
			m.must(err)
			m.know(found, s.login, s.readOnly, true)
		}
		return 0, nil
	}
	m.must(err)
	m.calls++
	n = m.calls
	want := m.expect(s)
	c, err = found.Call(m.Context(), access, message(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{"n":%d}}}`, n, tool, n)))
	if want != nil {
		if !errors.Is(err, want) {
			m.Fatalf("call %d of %#v: %v, want %v", n, s, err, want)
		}
		return 0, nil
	}
	m.must(err)
	s.running, s.used = true, m.stage.now()
	return n, c
}

// expect says why a call will be turned away; nil when it will not. It counts the
// sessions that go dormant for it.
func (m *machine) expect(s *modelled) error {
	switch {
	case m.shut:
		return session.ErrDraining
	case s.running:
		return nil
	}
	return m.makeRoom(s.login.User.ID)
}

// makeRoom has sessions go dormant, as far as needed for another of the user: those whose
// calls nobody waits for, then the longest idle.
func (m *machine) makeRoom(user string) error {
	for {
		own, mine := m.firstToGo(func(s *modelled) bool { return s.login.User.ID == user })
		all, any := m.firstToGo(m.any)
		victim := any
		switch {
		case own >= modelPerUser:
			victim = mine
		case all < modelMax:
			return nil
		}
		if victim == nil {
			return session.ErrBusy
		}
		m.sleeps(victim)
	}
}

// firstToGo counts the running sessions of a kind.
func (m *machine) firstToGo(of func(*modelled) bool) (n int, first *modelled) {
	var deserted bool
	for _, s := range m.sessions {
		if !s.running || !of(s) {
			continue
		}
		n++
		left := m.deserted(s)
		switch {
		case m.busy(s) && !left, deserted && !left:
		case first == nil, left && !deserted, s.used.Before(first.used):
			first, deserted = s, left
		}
	}
	return n, first
}

// deserted reports whether a session has calls and nobody waits for any.
func (m *machine) deserted(s *modelled) bool {
	for _, o := range m.owed {
		if o.session == s && !o.left {
			return false
		}
	}
	return m.busy(s)
}

// answered makes a call and wants its answer.
func (m *machine) answered(s *modelled, access model.Access) {
	m.Helper()
	if m.held(s) && !s.running {
		m.Skip("it may be left alone")
	}
	n, c := m.call(s, access, "echo")
	if c == nil {
		return
	}
	m.wantAnswer(n, c)
	m.fresh(s)
}

func (m *machine) wantAnswer(n int, c *session.Call) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
	defer cancel()
	e, err := c.Next(ctx)
	m.must(err)
	if want := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,%s}`, n, answerTo(n)); !e.Final || string(e.Raw) != want {
		m.Fatalf("call %d was answered %s, want %s", n, e.Raw, want)
	}
	if got := m.launcher.times(n); got != 1 {
		m.Fatalf("call %d was carried out %d times", n, got)
	}
}

// fresh wants the token of now with a unit that has just been used.
func (m *machine) fresh(s *modelled) {
	set, err := m.cfg.Tokens.Stored(m.Context(), s.login.User.ID)
	m.must(err)
	if !m.stage.now().Before(set.ExpiresAt) {
		m.Fatalf("the stored token has expired")
	}
	m.until("the unit has the token of now", func() bool {
		c := m.launcher.of(s.label)
		if c == nil {
			return false
		}
		m.launcher.mu.Lock()
		defer m.launcher.mu.Unlock()
		return c.token == set.AccessToken && c.readOnly == s.readOnly
	})
}

// know adds a session to the model.
func (m *machine) know(s *session.Session, l *login, readOnly, shared bool) *modelled {
	k := &modelled{id: s.ID(), label: s.Label(), login: l, readOnly: readOnly, shared: shared, created: m.stage.now(), used: m.stage.now()}
	m.sessions = append(m.sessions, k)
	return k
}
