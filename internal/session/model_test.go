package session_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fjmcp/fjmcp-broker/internal/audit"
	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/control"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/launchproto"
	"github.com/fjmcp/fjmcp-broker/internal/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/spawn"
	"github.com/fjmcp/fjmcp-broker/internal/store/storetest"
	"github.com/fjmcp/fjmcp-broker/internal/testforge"
	"github.com/fjmcp/fjmcp-broker/internal/upstream"
)

// modelTime bounds the test: what has not been tried by then is left.
const modelTime = 25 * time.Second

// What the modelled broker allows.
const (
	modelIdle    = time.Hour
	modelMaxAge  = 24 * time.Hour
	modelPerUser = 3
	modelMax     = 4
)

// TestModel has random commands done to a Manager with a real store and a real
// forge, over real sockets, and holds it to a model after each. On failure rapid
// prints the commands and the seed.
func TestModel(t *testing.T) {
	if flag.Lookup("rapid.nofailfile").Value.String() == "false" {
		must(t, flag.Set("rapid.nofailfile", "true"))
	}
	s := newStage(t)
	begun, runs, passed := time.Now(), 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if passed == runs && time.Since(begun) > modelTime { // else it looks for the shortest that fails
			return
		}
		runs++
		m := s.play(rt)
		rt.Repeat(m.commands())
		m.close()
		passed++
	})
	t.Logf("%d runs", runs)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stage is what all runs share: a forge, and a clock.
type stage struct {
	t      *testing.T
	clock  sync.Mutex
	time   time.Time
	forge  *testforge.Server
	client *forgejo.Client
}

func newStage(t *testing.T) *stage {
	const callback = "http://127.0.0.1/oauth/callback"
	s := &stage{t: t, time: time.Now()}
	s.forge = testforge.Start(t, testforge.Config{Now: s.now}, callback)
	var err error
	s.client, err = forgejo.New(forgejo.Config{
		URL: s.forge.URL, ClientID: s.forge.App.ClientID, ClientSecret: s.forge.App.ClientSecret, RedirectURL: callback, Now: s.now,
	})
	must(t, err)
	return s
}

func (s *stage) now() time.Time {
	s.clock.Lock()
	defer s.clock.Unlock()
	return s.time
}

func (s *stage) advance(d time.Duration) {
	s.clock.Lock()
	defer s.clock.Unlock()
	s.time = s.time.Add(d)
}

// login is one user's grant to one client.
type login struct {
	broker.Access
	revoked bool
}

// logIn redeems grants: two of alice's and one of bob's.
func (s *stage) logIn(cfg session.Config) []*login {
	var all []*login
	for _, name := range []string{"alice", "alice", "bob"} {
		l := storetest.LogIn(s.t, cfg.Store, name, s.now())
		all = append(all, &login{Access: broker.Access{
			User: l.User, ClientID: l.Client.ID, Client: l.Client.Name, GrantID: l.Grant.ID, Scope: l.Grant.Scope,
		}})
	}
	for _, l := range all[1:] {
		verifier := forgejo.NewVerifier()
		name := l.User.Name
		back, err := testforge.NewBrowser(name, name+"-password", nil).Authorize(s.client.AuthCodeURL("s", verifier))
		must(s.t, err)
		set, err := s.client.Exchange(s.t.Context(), back.Query().Get("code"), verifier)
		must(s.t, err)
		must(s.t, cfg.Tokens.Put(s.t.Context(), l.User.ID, set))
	}
	return all
}

// model is one run: a Manager, and what should be true of it.
type model struct {
	*rapid.T
	stage    *stage
	cfg      session.Config
	manager  *session.Manager
	launcher *scripted
	kept     *slowKeeper
	logins   []*login
	close    func()

	sessions []*modelled
	owed     map[int]*owedCall
	calls    int
	shut     bool          // the door
	back     time.Duration // how far the clock has been set back since untouched
	// attended is how many goroutines may be left: those there were, and one for each
	// unit that was left to a next process. It ends with its process, of which there
	// is none here.
	attended int
}

// modelled is a session that has not ended.
type modelled struct {
	id, label string
	login     *login
	readOnly  bool
	shared    bool
	running   bool
	created   time.Time
	used      time.Time
	deaths    []time.Time
}

// owedCall is one that is held. Its client waits, unless it has left.
type owedCall struct {
	*session.Call
	session *modelled
	left    bool
}

func (s *stage) play(t *rapid.T) *model {
	m := &model{T: t, stage: s, attended: attending(), owed: map[int]*owedCall{}, kept: &slowKeeper{keeper: &keeper{files: map[string][]*os.File{}}}}
	m.launcher = newScripted(s.now, modelMax, modelPerUser)
	m.launcher.token = func(ctx context.Context, id string) (string, error) { return m.manager.Token(ctx, id) }
	dir, err := os.MkdirTemp(s.t.TempDir(), "run")
	m.must(err)
	store := storetest.Open(s.t, filepath.Join(dir, "fjmcp.db"), s.now)
	log, events := slog.New(slog.NewTextHandler(io.Discard, nil)), audit.New(io.Discard)
	tokens, err := upstream.New(upstream.Config{Store: store, Forgejo: s.client, Now: s.now, Log: log, Audit: events})
	m.must(err)
	m.cfg = session.Config{
		Launcher: m.launcher, Store: store, Tokens: tokens, Audit: events, Log: log, Now: s.now, Keeper: m.kept,
		IdleTimeout: modelIdle, MaxAge: modelMaxAge, PerUser: modelPerUser, Max: modelMax, StartTimeout: time.Minute, ProbeTimeout: 30 * time.Second,
	}
	m.logins = s.logIn(m.cfg)
	m.manager = session.New(m.cfg)
	m.close = func() {
		m.finish()
		m.must(store.Close())
	}
	return m
}

func (m *model) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("unexpected: %v", err)
	}
}

// until waits for a condition; is says what there is instead.
func (m *model) until(what string, ok func() bool, is ...func() string) {
	m.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			for _, is := range is {
				what += "; " + is()
			}
			m.Fatalf("waited too long: %s", what)
		}
	}
}

func (m *model) commands() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":              func(*rapid.T) { m.check() },
		"create":        func(*rapid.T) { m.create() },
		"use shared":    func(*rapid.T) { m.useShared() },
		"call":          func(*rapid.T) { m.on(m.any, func(s *modelled) { m.answered(s, m.access(s)) }) },
		"hold":          func(*rapid.T) { m.on(m.any, m.hold) },
		"hold more":     func(*rapid.T) { m.on(m.any, m.hold) },
		"release":       func(*rapid.T) { m.onOwed(m.release) },
		"leave":         func(*rapid.T) { m.onOwed(func(n int) { m.owed[n].Leave(); m.owed[n].left = true }) },
		"notify":        func(*rapid.T) { m.on(m.any, m.notify) },
		"storm":         func(*rapid.T) { m.on(m.dormant, m.storm) },
		"idle":          func(*rapid.T) { m.pass(modelIdle) },
		"age":           func(*rapid.T) { m.pass(modelMaxAge) },
		"clock steps":   func(*rapid.T) { m.stepBack() },
		"delete":        func(*rapid.T) { m.on(m.any, m.delete) },
		"revoke":        func(*rapid.T) { m.revoke() },
		"crash":         func(*rapid.T) { m.on(m.awake, m.crash) },
		"refused":       func(*rapid.T) { m.on(m.dormant, m.refused) },
		"stillborn":     func(*rapid.T) { m.on(m.dormant, m.stillborn) },
		"impatient":     func(*rapid.T) { m.on(m.dormant, m.impatient) },
		"untouchable":   func(*rapid.T) { m.on(m.awake, m.untouchable) },
		"going":         func(*rapid.T) { m.on(m.idle, m.going) },
		"raise":         func(*rapid.T) { m.on(m.narrow, m.raise) },
		"too narrow":    func(*rapid.T) { m.on(m.wide, m.tooNarrow) },
		"someone else":  func(*rapid.T) { m.on(m.any, m.foreign) },
		"door":          func(*rapid.T) { m.door() },
		"reconcile":     func(*rapid.T) { m.reconcile() },
		"restart":       func(*rapid.T) { m.restart() },
		"process stops": func(*rapid.T) { m.stopAll() },
	}
}

// Kinds of sessions that commands are for.
func (m *model) any(*modelled) bool       { return true }
func (m *model) awake(s *modelled) bool   { return s.running }
func (m *model) dormant(s *modelled) bool { return !s.running && !m.held(s) }
func (m *model) idle(s *modelled) bool    { return s.running && !m.busy(s) }
func (m *model) narrow(s *modelled) bool  { return s.readOnly && !s.shared && !m.busy(s) }
func (m *model) wide(s *modelled) bool    { return !s.readOnly && !s.shared }

// on does something to one session of a kind; without one the command is skipped.
func (m *model) on(kind func(*modelled) bool, do func(*modelled)) {
	var of []*modelled
	for _, s := range m.sessions {
		if kind(s) {
			of = append(of, s)
		}
	}
	if len(of) == 0 {
		m.Skip("no such session")
	}
	m.stage.advance(time.Millisecond) // so that it is clear which was used last
	do(rapid.SampledFrom(of).Draw(m.T, "session"))
}

// GoString is how rapid shows which it has drawn.
func (s *modelled) GoString() string { return s.label[:6] }

func (m *model) onOwed(do func(n int)) {
	var of []int
	for n, c := range m.owed {
		if !c.left {
			of = append(of, n)
		}
	}
	if len(of) == 0 {
		m.Skip("no call is held")
	}
	slices.Sort(of)
	do(rapid.SampledFrom(of).Draw(m.T, "call"))
}

func (m *model) busy(s *modelled) bool {
	for _, c := range m.owed {
		if c.session == s {
			return true
		}
	}
	return false
}

// held reports whether the session's circuit may be open: it has died three times
// and is not known to have lived since.
func (m *model) held(s *modelled) bool {
	return len(s.deaths) >= 3 && m.stage.now().Sub(s.deaths[len(s.deaths)-1]) < 5*time.Minute
}

// access is what the session's client sends it with.
func (m *model) access(s *modelled) broker.Access {
	a := s.login.Access
	if s.readOnly {
		a.Scope = "forgejo:read"
	}
	return a
}

// find is what a transport does first.
func (m *model) find(s *modelled, access broker.Access) (*session.Session, error) {
	if s.shared {
		return m.manager.Shared(m.Context(), access)
	}
	return m.manager.Get(m.Context(), s.id, access)
}

// call makes a call and expects it to begin, or to be turned away as the model
// says, upon which it returns nil.
func (m *model) call(s *modelled, access broker.Access, tool string) (n int, c *session.Call) {
	m.Helper()
	aged := m.stage.now().Sub(s.created) >= modelMaxAge
	found, err := m.find(s, access)
	if aged {
		m.ended(s)
		if !s.shared && !errors.Is(err, broker.ErrNotFound) {
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
func (m *model) expect(s *modelled) error {
	switch {
	case m.shut:
		return session.ErrDraining
	case s.running:
		return nil
	}
	return m.makeRoom(s.login.User.ID)
}

// makeRoom has the longest idle sessions go dormant, as far as needed for another
// of the user.
func (m *model) makeRoom(user string) error {
	for {
		own, mine := m.longestIdle(func(s *modelled) bool { return s.login.User.ID == user })
		all, any := m.longestIdle(m.any)
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
		victim.running = false
	}
}

// longestIdle counts the running sessions of a kind.
func (m *model) longestIdle(of func(*modelled) bool) (n int, longest *modelled) {
	for _, s := range m.sessions {
		if !s.running || !of(s) {
			continue
		}
		n++
		if !m.busy(s) && (longest == nil || s.used.Before(longest.used)) {
			longest = s
		}
	}
	return n, longest
}

// answered makes a call and wants its answer.
func (m *model) answered(s *modelled, access broker.Access) {
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

func (m *model) wantAnswer(n int, c *session.Call) {
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
func (m *model) fresh(s *modelled) {
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
func (m *model) know(s *session.Session, l *login, readOnly, shared bool) *modelled {
	k := &modelled{id: s.ID(), label: s.Label(), login: l, readOnly: readOnly, shared: shared, created: m.stage.now(), used: m.stage.now()}
	m.sessions = append(m.sessions, k)
	return k
}

func (m *model) login() *login {
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

func (m *model) create() {
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
func (m *model) useShared() {
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

func (m *model) hold(s *modelled) {
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

func (m *model) release(n int) {
	o := m.owed[n]
	delete(m.owed, n)
	m.launcher.of(o.session.label).release(n)
	if !o.left {
		m.wantAnswer(n, o.Call)
	}
}

// lose expects that the calls of a session will not be answered, and say so.
func (m *model) lose(s *modelled) {
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
func (m *model) sleeps(s *modelled) {
	m.Helper()
	s.running = false
	m.lose(s)
}

// ended expects that the session is gone for good.
func (m *model) ended(s *modelled) {
	m.Helper()
	m.sleeps(s)
	m.sessions = slices.DeleteFunc(m.sessions, func(o *modelled) bool { return o == s })
}

func (m *model) notify(s *modelled) {
	if m.stage.now().Sub(s.created) >= modelMaxAge {
		m.Skip("it is past its age")
	}
	found, err := m.find(s, m.access(s))
	m.must(err)
	m.must(found.Tell(m.Context(), message(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)))
}

// storm has many requests wake one session.
func (m *model) storm(s *modelled) {
	if m.shut || m.stage.now().Sub(s.created) >= modelMaxAge || m.expect(s) != nil {
		m.Skip("it cannot wake")
	}
	found, err := m.find(s, m.access(s))
	m.must(err)
	before := m.launcher.starts
	first := m.calls + 1
	m.calls += 8
	var all sync.WaitGroup
	calls, errs := make([]*session.Call, 8), make([]error, 8)
	for i := range calls {
		all.Go(func() {
			n := first + i
			calls[i], errs[i] = found.Call(m.Context(), m.access(s), message(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"n":%d}}}`, n, n)))
		})
	}
	all.Wait()
	for i, c := range calls {
		m.must(errs[i])
		m.wantAnswer(first+i, c)
	}
	s.running, s.used = true, m.stage.now()
	if n := m.launcher.starts - before; n != 1 {
		m.Fatalf("%d units were started for one session", n)
	}
}

// pass lets time go by, with the reap timers.
func (m *model) pass(d time.Duration) {
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
func (m *model) stepBack() {
	const step = 10 * time.Minute
	m.stage.advance(-step)
	m.back += step
}

// untouched lets time go by until every unit is to be touched at its next use.
func (m *model) untouched() {
	m.stage.advance(modelIdle/3 + m.back)
	m.back = 0
}

func (m *model) delete(s *modelled) {
	if m.stage.now().Sub(s.created) >= modelMaxAge {
		m.Skip("it is past its age")
	}
	found, err := m.find(s, m.access(s))
	m.must(err)
	m.must(m.manager.End(m.Context(), found))
	m.gone(s)
}

// gone wants nothing left of a session when the call that ended it returns.
func (m *model) gone(s *modelled) {
	m.Helper()
	if m.launcher.of(s.label) != nil {
		m.Fatalf("%#v has ended and runs on", s)
	}
	m.ended(s)
	if _, err := m.manager.Get(m.Context(), s.id, s.login.Access); !errors.Is(err, broker.ErrNotFound) {
		m.Fatalf("%#v has ended and is found: %v", s, err)
	}
}

func (m *model) revoke() {
	if len(m.sessions) == 0 || rapid.IntRange(0, 3).Draw(m.T, "seldom") > 0 {
		m.Skip("not now")
	}
	l := m.login()
	l.revoked = true
	m.must(m.cfg.Store.RevokeGrant(m.Context(), l.GrantID))
	m.must(m.manager.EndGrant(m.Context(), l.GrantID))
	for _, s := range slices.Clone(m.sessions) {
		if s.login == l {
			m.gone(s)
		}
	}
	if _, err := m.manager.Shared(m.Context(), l.Access); !errors.Is(err, broker.ErrRevoked) {
		m.Fatalf("a revoked grant's shared session: %v", err)
	}
}

func (m *model) crash(s *modelled) {
	m.launcher.of(s.label).crash()
	s.deaths = append(s.deaths, m.stage.now())
	m.sleeps(s)
}

// ready skips commands that need a session that would start.
func (m *model) ready(s *modelled) *session.Session {
	if m.shut || m.stage.now().Sub(s.created) >= modelMaxAge || m.expect(s) != nil {
		m.Skip("it cannot wake")
	}
	found, err := m.find(s, m.access(s))
	m.must(err)
	return found
}

func (m *model) begin(ctx context.Context, found *session.Session, s *modelled) error {
	_, err := found.Call(ctx, m.access(s), message(`{"jsonrpc":"2.0","id":0,"method":"ping"}`))
	return err
}

// refused has the launcher refuse: nothing is left of the attempt.
func (m *model) refused(s *modelled) {
	found := m.ready(s)
	m.set(func() { m.launcher.refuse = &spawn.Error{Code: launchproto.CodeFailed, Message: "told to refuse"} })
	err := m.begin(m.Context(), found, s)
	m.set(func() { m.launcher.refuse = nil })
	if session.StartReason(err) != "launcher" {
		m.Fatalf("got %v", err)
	}
}

// stillborn has the backend end before it answers, and before its descriptors are
// kept.
func (m *model) stillborn(s *modelled) {
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

// impatient has the client leave while its session starts.
func (m *model) impatient(s *modelled) {
	found := m.ready(s)
	asked := make(chan struct{}, 1)
	m.set(func() { m.launcher.mute = asked })
	ctx, cancel := context.WithCancel(m.Context())
	go func() {
		<-asked
		cancel()
	}()
	err := m.begin(ctx, found, s)
	cancel()
	m.set(func() { m.launcher.mute = nil })
	if !errors.Is(err, context.Canceled) {
		m.Fatalf("got %v", err)
	}
}

// untouchable has the launcher fail when it is to keep a session awake: the request
// fails, the session is not harmed.
func (m *model) untouchable(s *modelled) {
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
func (m *model) going(s *modelled) {
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

func (m *model) set(do func()) {
	m.launcher.mu.Lock()
	defer m.launcher.mu.Unlock()
	do()
}

// raise lets a read-only session write.
func (m *model) raise(s *modelled) {
	if m.shut || m.stage.now().Sub(s.created) >= modelMaxAge || !s.running && m.held(s) {
		m.Skip("it takes no call")
	}
	s.readOnly = false
	m.answered(s, s.login.Access)
}

func (m *model) tooNarrow(s *modelled) {
	a := s.login.Access
	a.Scope = "forgejo:read"
	if _, err := m.manager.Get(m.Context(), s.id, a); !errors.Is(err, broker.ErrNotFound) {
		m.Fatalf("a token that may do less: %v", err)
	}
}

func (m *model) foreign(s *modelled) {
	for _, l := range m.logins {
		if l == s.login {
			continue
		}
		if _, err := m.manager.Get(m.Context(), s.id, l.Access); !errors.Is(err, broker.ErrNotFound) {
			m.Fatalf("another client: %v", err)
		}
	}
}

func (m *model) door() {
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
func (m *model) reconcile() {
	m.must(m.manager.Reconcile(m.Context()))
	m.tooOld()
}

// tooOld expects that sessions past their age are gone.
func (m *model) tooOld() {
	for _, s := range slices.Clone(m.sessions) {
		if m.stage.now().Sub(s.created) >= modelMaxAge {
			m.ended(s)
		}
	}
}

// restart is an orderly end and the next process, which carries calls on.
func (m *model) restart() {
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
			if _, err := fmt.Sscan(string(c.ClientID()), &n); err != nil || waiting[n] == nil || waiting[n].session.label != s.Label() {
				m.Fatalf("a call %s of %s is gone on with", c.ClientID(), s.Label())
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
func (m *model) reopened() {
	m.shut = false
	for _, s := range m.sessions {
		s.deaths = nil
	}
	m.tooOld()
}

// stopAll is an end after which nothing runs, as before the machine goes down.
func (m *model) stopAll() {
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

// check holds the Manager to the model.
func (m *model) check() {
	var running []string
	for _, s := range m.sessions {
		if s.running {
			running = append(running, s.label)
		}
	}
	slices.Sort(running)
	var awake []string
	var units, kept int
	m.until(fmt.Sprintf("sessions %q run", running), func() bool {
		awake = nil
		for _, v := range m.manager.Awake() {
			awake = append(awake, v.Label)
		}
		slices.Sort(awake)
		ids, _ := m.launcher.List(m.Context())
		units, kept = len(ids), m.kept.count()
		return slices.Equal(awake, running) && units == len(running) && kept == 2*len(running)
	}, func() string {
		return fmt.Sprintf("awake are %q, %d units run, %d descriptors are kept", awake, units, kept)
	})
	rows, err := m.manager.List(m.Context())
	m.must(err)
	if len(rows) != len(m.sessions) {
		m.Fatalf("%d sessions are stored, want %d", len(rows), len(m.sessions))
	}
	if n := m.manager.Loaded(); n > len(m.sessions) {
		m.Fatalf("%d sessions are in memory, of which %d have not ended", n, len(m.sessions))
	}
	m.launcher.mu.Lock()
	defer m.launcher.mu.Unlock()
	if len(m.launcher.wrong) > 0 {
		m.Fatalf("%s", strings.Join(m.launcher.wrong, "\n"))
	}
	for n, times := range m.launcher.executed {
		if times > 1 {
			m.Fatalf("call %d was carried out %d times", n, times)
		}
	}
}

// finish answers what is owed, ends what is left, and wants nothing of it.
func (m *model) finish() {
	for n := range m.owed {
		m.release(n)
	}
	m.check()
	for _, s := range slices.Clone(m.sessions) {
		m.must(m.manager.Stop(m.Context(), s.id))
		m.ended(s)
	}
	m.check()
	m.manager.Shutdown(m.Context())
	m.until("no goroutine is left", func() bool { return attending() <= m.attended })
}

// attending counts the goroutines that attend to units.
func attending() (n int) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, stack := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(stack, "fjmcp-broker/internal/unit.") || strings.Contains(stack, "fjmcp-broker/internal/relay.") {
			n++
		}
	}
	return n
}
