package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

func (m *machine) login() *login {
	var of []*login
	for _, l := range m.logins {
		if !l.revoked {
			of = append(of, l)
		}
	}
	if len(of) == 0 {
		m.Skip("all grants are revoked")
	}
	return of[rapid.IntRange(0, len(of)-1).Draw(m.T, "login")]
}

func (m *machine) create() {
	l := m.login()
	m.stage.advance(time.Millisecond)
	k := &modelled{login: l, readOnly: rapid.Bool().Draw(m.T, "read-only")}
	var want error
	if m.shut {
		want = session.ErrDraining
	} else {
		want = m.makeRoom(l.User.ID)
	}
	s, _, err := m.manager.Create(m.Context(), m.access(k), message(beginning))
	if want != nil {
		if !errors.Is(err, want) {
			m.Fatalf("got %v, want %v", err, want)
		}
		return
	}
	m.must(err)
	m.know(s, l, k.readOnly, false).running = true
}

// useShared calls in the one session of a grant and a mode.
func (m *machine) useShared() {
	l := m.login()
	m.stage.advance(time.Millisecond)
	readOnly := rapid.Bool().Draw(m.T, "read-only")
	s, err := m.manager.Shared(m.Context(), m.access(&modelled{login: l, readOnly: readOnly}))
	m.must(err)
	var known *modelled
	for _, k := range slices.Clone(m.sessions) {
		switch {
		case !k.shared || k.login != l || k.readOnly != readOnly:
		case k.id == s.ID():
			known = k
		case m.stage.now().Sub(k.created) >= modelMaxAge:
			m.ended(k)
		default:
			m.Fatalf("a grant has another shared session than %#v", k)
		}
	}
	if known == nil {
		known = m.know(s, l, readOnly, true)
	}
	m.answered(known, m.access(known))
}

func (m *machine) hold(s *modelled) {
	if m.held(s) && !s.running {
		m.Skip("it may be left alone")
	}
	n, c := m.call(s, m.access(s), "hold")
	if c == nil {
		return
	}
	m.owed[n] = &owedCall{Call: c, session: s}
	m.until("the backend has it", func() bool { return m.launcher.times(n) == 1 })
}

func (m *machine) release(n int) {
	o := m.owed[n]
	delete(m.owed, n)
	m.launcher.of(o.session.label).release(n)
	if !o.left {
		m.wantAnswer(n, o.Call)
	}
}

// lose expects that the calls of a session will not be answered, and say so.
func (m *machine) lose(s *modelled) {
	m.Helper()
	for n, o := range m.owed {
		if o.session != s {
			continue
		}
		delete(m.owed, n)
		if o.left {
			continue
		}
		ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
		if e, err := o.Next(ctx); !errors.Is(err, relay.ErrClosed) {
			m.Fatalf("call %d of a session that is gone: %s, %v", n, e.Raw, err)
		}
		cancel()
	}
}

// sleeps expects that the session has lost its unit.
func (m *machine) sleeps(s *modelled) {
	m.Helper()
	s.running = false
	m.lose(s)
}

// ended expects that the session is gone for good.
func (m *machine) ended(s *modelled) {
	m.Helper()
	m.sleeps(s)
	m.sessions = slices.DeleteFunc(m.sessions, func(o *modelled) bool { return o == s })
}

func (m *machine) notify(s *modelled) {
	if m.stage.now().Sub(s.created) >= modelMaxAge {
		m.Skip("it is past its age")
	}
	found, err := m.find(s, m.access(s))
	m.must(err)
	m.must(found.Tell(m.Context(), message(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)))
}

// storm has many requests wake one session: they are carried out as they came.
func (m *machine) storm(s *modelled) {
	found := m.ready(s)
	before := m.launcher.starts
	calls, errs := m.crowd(found, s)
	for n, c := range calls {
		m.must(errs[n])
		m.wantAnswer(n, c)
	}
	s.running, s.used = true, m.stage.now()
	if n := m.launcher.starts - before; n != 1 {
		m.Fatalf("%d units were started for one session", n)
	}
	m.launcher.mu.Lock()
	defer m.launcher.mu.Unlock()
	if last := m.launcher.order[len(m.launcher.order)-len(calls):]; !slices.IsSorted(last) {
		m.Fatalf("calls were carried out in the order %v", last)
	}
}

// crowd makes many calls of a dormant session, one after the other while its unit
// starts. They are by number.
func (m *machine) crowd(found *session.Session, s *modelled) (map[int]*session.Call, map[int]error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	calls, errs := map[int]*session.Call{}, map[int]error{}
	m.launcher.slow.Lock()
	for i := range 8 {
		m.calls++
		n := m.calls
		all.Go(func() {
			c, err := found.Call(m.Context(), m.access(s), message(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"n":%d}}}`, n, n)))
			mu.Lock()
			defer mu.Unlock()
			calls[n], errs[n] = c, err
		})
		m.until("the call waits", func() bool { return found.Waiting() == i+1 })
	}
	m.launcher.slow.Unlock()
	all.Wait()
	return calls, errs
}

// pass lets time go by, with the reap timers.
func (m *machine) pass(d time.Duration) {
	m.stage.advance(d)
	m.launcher.reap()
	for _, s := range m.sessions {
		if s.running && m.launcher.of(s.label) == nil {
			if m.busy(s) && m.stage.now().Sub(s.created) < modelMaxAge {
				m.Fatalf("%#v was reaped while it worked", s)
			}
			m.sleeps(s)
		}
	}
}

// stepBack sets the clock back, as at a machine whose clock was wrong.
func (m *machine) stepBack() {
	const step = 10 * time.Minute
	m.stage.advance(-step)
	m.back += step
}

// untouched lets time go by until every unit is to be touched at its next use.
func (m *machine) untouched() {
	m.stage.advance(modelIdle/3 + m.back)
	m.back = 0
}
