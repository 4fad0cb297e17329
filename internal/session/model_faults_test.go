package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
)

func (m *machine) delete(s *modelled) {
	if m.stage.now().Sub(s.created) >= modelMaxAge {
		m.Skip("it is past its age")
	}
	found, err := m.find(s, m.access(s))
	m.must(err)
	m.must(m.manager.End(m.Context(), found))
	m.gone(s)
}

// gone wants nothing left of a session when the call that ended it returns.
func (m *machine) gone(s *modelled) {
	m.Helper()
	if m.launcher.of(s.label) != nil {
		m.Fatalf("%#v has ended and runs on", s)
	}
	m.ended(s)
	if _, err := m.manager.Get(m.Context(), s.id, s.login.Access); !errors.Is(err, model.ErrNotFound) {
		m.Fatalf("%#v has ended and is found: %v", s, err)
	}
}

func (m *machine) revoke() {
	if len(m.sessions) == 0 || rapid.IntRange(0, 3).Draw(m.T, "seldom") > 0 {
		m.Skip("not now")
	}
	l := m.login()
	l.revoked = true
	m.disconnect(l.Access)
	m.must(m.manager.EndGrant(m.Context(), l.GrantID))
	for _, s := range slices.Clone(m.sessions) {
		if s.login == l {
			m.gone(s)
		}
	}
	if _, err := m.manager.Shared(m.Context(), l.Access); !errors.Is(err, model.ErrRevoked) {
		m.Fatalf("a revoked grant's shared session: %v", err)
	}
}

func (m *machine) crash(s *modelled) {
	m.launcher.of(s.label).crash()
	s.deaths = append(s.deaths, m.stage.now())
	m.sleeps(s)
}

// ready skips commands that need a session that would start.
func (m *machine) ready(s *modelled) *session.Session {
	if m.shut || m.stage.now().Sub(s.created) >= modelMaxAge || m.expect(s) != nil {
		m.Skip("it cannot wake")
	}
	found, err := m.find(s, m.access(s))
	m.must(err)
	return found
}

func (m *machine) begin(ctx context.Context, found *session.Session, s *modelled) error {
	_, err := found.Call(ctx, m.access(s), message(`{"jsonrpc":"2.0","id":0,"method":"ping"}`))
	return err
}

// refused has the launcher refuse: nothing is left of the attempt, which was made
// once for all who waited.
func (m *machine) refused(s *modelled) {
	found := m.ready(s)
	before := m.launcher.refusals
	m.set(func() {
		m.launcher.refuse = &launchclient.Error{Code: launchproto.CodeFailed, Message: "told to refuse"}
	})
	_, errs := m.crowd(found, s)
	m.set(func() { m.launcher.refuse = nil })
	for n, err := range errs {
		if session.StartReason(err) != "launcher" {
			m.Fatalf("call %d: got %v", n, err)
		}
	}
	if n := m.launcher.refusals - before; n != 1 {
		m.Fatalf("%d attempts were made", n)
	}
}

// stillborn has the backend end before it answers, and before its descriptors are
// kept.
func (m *machine) stillborn(s *modelled) {
	found := m.ready(s)
	m.set(func() { m.launcher.stillborn = true })
	m.kept.held.Lock()
	err := m.begin(m.Context(), found, s)
	m.kept.held.Unlock()
	m.set(func() { m.launcher.stillborn = false })
	s.deaths = append(s.deaths, m.stage.now())
	if session.StartReason(err) != control.ReasonCrashed {
		m.Fatalf("got %v", err)
	}
}

// impatient has the client leave while its session starts, which goes on without it.
func (m *machine) impatient(s *modelled) {
	found := m.ready(s)
	m.launcher.slow.Lock()
	ctx, leave := context.WithCancel(m.Context())
	told := make(chan error, 1)
	before := m.launcher.attempts.Load()
	go func() { told <- m.begin(ctx, found, s) }()
	m.until("the unit starts", func() bool { return m.launcher.attempts.Load() > before })
	leave()
	err := <-told
	m.launcher.slow.Unlock()
	if !errors.Is(err, context.Canceled) {
		m.Fatalf("got %v", err)
	}
	m.until("it has started", func() bool { return found.Waiting() == 0 })
	s.running, s.used = true, m.stage.now()
}

// cutShort ends a session while its unit, which does not answer, starts.
func (m *machine) cutShort(s *modelled) {
	found := m.ready(s)
	asked := make(chan struct{}, 1)
	m.set(func() { m.launcher.mute = asked })
	told := make(chan error, 1)
	go func() { told <- m.begin(m.Context(), found, s) }()
	<-asked
	m.must(m.manager.End(m.Context(), found))
	m.set(func() { m.launcher.mute = nil })
	if err := <-told; !errors.Is(err, model.ErrNotFound) {
		m.Fatalf("got %v", err)
	}
	m.gone(s)
}

// neverBegun ends a grant while its first session starts: its backend does not
// answer, or its descriptors are not kept yet.
func (m *machine) neverBegun() {
	l := m.login()
	if m.shut || rapid.IntRange(0, 2).Draw(m.T, "seldom") > 0 || m.makeRoom(l.User.ID) != nil {
		m.Skip("not now")
	}
	asked, before := make(chan struct{}, 1), m.launcher.starts
	mute := rapid.Bool().Draw(m.T, "mute")
	if mute {
		m.set(func() { m.launcher.mute = asked })
	}
	m.kept.held.Lock()
	told := make(chan error, 1)
	go func() {
		_, _, err := m.manager.Create(m.Context(), l.Access, message(beginning))
		told <- err
	}()
	if mute {
		<-asked
	}
	m.until("it starts", func() (ok bool) {
		m.set(func() { ok = m.launcher.starts > before })
		return ok
	})
	l.revoked = true
	m.disconnect(l.Access)
	m.must(m.manager.EndGrant(m.Context(), l.GrantID))
	if err := <-told; !errors.Is(err, model.ErrRevoked) {
		m.Fatalf("got %v", err)
	}
	m.kept.held.Unlock()
	m.set(func() { m.launcher.mute = nil })
	for _, s := range slices.Clone(m.sessions) {
		if s.login == l {
			m.gone(s)
		}
	}
}

// untouchable has the launcher fail when it is to keep a session awake: the request
// fails, the session is not harmed.
func (m *machine) untouchable(s *modelled) {
	if m.shut || m.stage.now().Sub(s.created) >= modelMaxAge-modelIdle/3-m.back {
		m.Skip("it takes no call")
	}
	m.untouched()
	found, err := m.find(s, m.access(s))
	m.must(err)
	failed := errors.New("told to fail")
	m.set(func() { m.launcher.untouchable = failed })
	err = m.begin(m.Context(), found, s)
	m.set(func() { m.launcher.untouchable = nil })
	s.used = m.stage.now()
	if !errors.Is(err, failed) {
		m.Fatalf("got %v", err)
	}
}

// going has a unit end without our noticing: the request that finds out gets
// another.
func (m *machine) going(s *modelled) {
	if m.shut || m.stage.now().Sub(s.created) >= modelMaxAge-modelIdle/3-m.back {
		m.Skip("it takes no call")
	}
	m.untouched()
	c := m.launcher.of(s.label)
	m.set(func() { c.going = true })
	m.answered(s, m.access(s))
	if m.launcher.unit(c.id) != nil {
		m.Fatalf("the unit that was going is still there")
	}
}

func (m *machine) set(do func()) {
	m.launcher.mu.Lock()
	defer m.launcher.mu.Unlock()
	do()
}

// raise lets a read-only session write.
func (m *machine) raise(s *modelled) {
	if m.shut || m.stage.now().Sub(s.created) >= modelMaxAge || !s.running && m.held(s) {
		m.Skip("it takes no call")
	}
	s.readOnly = false
	m.answered(s, s.login.Access)
}

func (m *machine) tooNarrow(s *modelled) {
	a := s.login.Access
	a.Scope = "forgejo:read"
	if _, err := m.manager.Get(m.Context(), s.id, a); !errors.Is(err, model.ErrNotFound) {
		m.Fatalf("a token that may do less: %v", err)
	}
}

func (m *machine) foreign(s *modelled) {
	for _, l := range m.logins {
		if l == s.login {
			continue
		}
		if _, err := m.manager.Get(m.Context(), s.id, l.Access); !errors.Is(err, model.ErrNotFound) {
			m.Fatalf("another client: %v", err)
		}
	}
}

func (m *machine) door() {
	changed := m.manager.OpenDoor
	if !m.shut {
		changed = m.manager.ShutDoor
	}
	if !changed() {
		m.Fatalf("the door was not as the model has it")
	}
	m.shut = !m.shut
}

// reconcile is what is done every few minutes.
func (m *machine) reconcile() {
	m.must(m.manager.Reconcile(m.Context()))
	m.tooOld()
}

// tooOld expects that sessions past their age are gone.
func (m *machine) tooOld() {
	for _, s := range slices.Clone(m.sessions) {
		if m.stage.now().Sub(s.created) >= modelMaxAge {
			m.ended(s)
		}
	}
}

// restart is an orderly end and the next process, which carries calls on.
func (m *machine) restart() {
	m.attended += len(m.manager.Awake())
	m.manager.Shutdown(m.Context())
	waiting := m.owed
	for n, o := range waiting {
		if o.left {
			continue
		}
		if _, err := o.Next(m.Context()); !errors.Is(err, relay.ErrSuspended) {
			m.Fatalf("call %d at a restart: %v", n, err)
		}
	}
	m.manager = session.New(m.cfg)
	m.owed = map[int]*owedCall{}
	m.must(m.manager.Restore(m.Context(), m.kept.passed(m.stage.t), func(s *session.Session, calls []*session.Call) {
		for _, c := range calls {
			var n int
			if _, err := fmt.Sscan(string(c.ClientID), &n); err != nil || waiting[n] == nil || waiting[n].session.label != s.Label() {
				m.Fatalf("a call %s of %s is gone on with", c.ClientID, s.Label())
			}
			o := *waiting[n]
			o.Call = c
			m.owed[n] = &o
			if o.left {
				c.Leave()
			}
		}
	}))
	if len(m.owed) != len(waiting) {
		m.Fatalf("%d calls were in flight, %d are", len(waiting), len(m.owed))
	}
	m.must(m.manager.Reconcile(m.Context()))
	m.reopened()
}

// reopened is what a new process does not know.
func (m *machine) reopened() {
	m.shut = false
	for _, s := range m.sessions {
		s.deaths = nil
	}
	m.tooOld()
}

// stopAll is an end after which nothing runs, as before the machine goes down.
func (m *machine) stopAll() {
	for _, s := range m.sessions {
		if c := m.launcher.of(s.label); c != nil {
			c.end(control.Message{Type: control.TypeExited})
		}
		m.sleeps(s)
	}
	m.check()
	m.manager.Shutdown(m.Context())
	m.manager = session.New(m.cfg)
	m.must(m.manager.Restore(m.Context(), nil, nil))
	m.must(m.manager.Reconcile(m.Context()))
	m.reopened()
}
