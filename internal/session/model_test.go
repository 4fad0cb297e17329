package session_test

import (
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

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo"
	"github.com/fjmcp/fjmcp-broker/internal/forgejo/tokens"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

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
	forge  *fakeforge.Server
	client *forgejo.Client
}

func newStage(t *testing.T) *stage {
	const callback = "http://127.0.0.1/oauth/callback"
	s := &stage{t: t, time: time.Now()}
	// No run is long enough for a login at the forge to end by itself.
	s.forge = fakeforge.Start(t, fakeforge.Config{Now: s.now, RefreshTTL: 10_000 * modelMaxAge}, callback)
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
	model.Access
	revoked bool
}

// logIn redeems grants: two of alice's and one of bob's.
func (s *stage) logIn(cfg session.Config) []*login {
	var all []*login
	for _, name := range []string{"alice", "alice", "bob"} {
		l := teststore.LogIn(s.t, cfg.Store, name, s.now())
		all = append(all, &login{Access: model.Access{
			User: l.User, ClientID: l.Client.ID, Client: l.Client.Name, GrantID: l.Grant.ID, Scope: l.Grant.Scope,
		}})
	}
	for _, l := range all[1:] {
		verifier := forgejo.NewVerifier()
		name := l.User.Name
		back, err := loginclient.NewBrowser(nil, name, name+"-password").Authorize(s.t.Context(), s.client.AuthCodeURL("s", verifier))
		must(s.t, err)
		set, err := s.client.Exchange(s.t.Context(), back.URL.Query().Get("code"), verifier)
		must(s.t, err)
		must(s.t, cfg.Tokens.Put(s.t.Context(), l.User.ID, set))
	}
	return all
}

// model is one run: a Manager, and what should be true of it.
type machine struct {
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

func (s *stage) play(t *rapid.T) *machine {
	m := &machine{T: t, stage: s, attended: attending(), owed: map[int]*owedCall{}, kept: &slowKeeper{keeper: &keeper{files: map[string][]*os.File{}}}}
	m.launcher = newScripted(s.now, modelMax, modelPerUser)
	m.launcher.token = func(id string) (string, error) { return m.manager.Token(id) }
	dir, err := os.MkdirTemp(s.t.TempDir(), "run")
	m.must(err)
	store := teststore.Open(s.t, filepath.Join(dir, "fjmcp.db"), s.now)
	log, events := slog.New(slog.NewTextHandler(io.Discard, nil)), audit.New(io.Discard)
	tokens, err := tokens.New(tokens.Config{Store: store, Forgejo: s.client, Now: s.now, Log: log, Audit: events})
	m.must(err)
	m.cfg = session.Config{
		Config: unit.Config{
			Launcher: m.launcher, Tokens: tokens, Log: log, Now: s.now, Keeper: m.kept,
			IdleTimeout: modelIdle, StartTimeout: time.Hour, ProbeTimeout: 30 * time.Second,
		},
		Store: store, Audit: events, MaxAge: modelMaxAge, PerUser: modelPerUser, Max: modelMax,
	}
	m.logins = s.logIn(m.cfg)
	m.manager = session.New(m.cfg)
	m.close = func() {
		m.finish()
		m.must(store.Close())
	}
	return m
}

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("unexpected: %v", err)
	}
}

// disconnect revokes all that a login's user has granted to its client.
func (m *machine) disconnect(a model.Access) {
	m.Helper()
	_, err := m.cfg.Store.Disconnect(m.Context(), a.User.ID, a.ClientID)
	m.must(err)
}

// until waits for a condition; is says what there is instead.
func (m *machine) until(what string, ok func() bool, is ...func() string) {
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

func (m *machine) commands() map[string]func(*rapid.T) {
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
		"cut short":     func(*rapid.T) { m.on(m.dormant, m.cutShort) },
		"never begun":   func(*rapid.T) { m.neverBegun() },
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
func (m *machine) any(*modelled) bool       { return true }
func (m *machine) awake(s *modelled) bool   { return s.running }
func (m *machine) dormant(s *modelled) bool { return !s.running && !m.held(s) }
func (m *machine) idle(s *modelled) bool    { return s.running && !m.busy(s) }
func (m *machine) narrow(s *modelled) bool  { return s.readOnly && !s.shared && !m.busy(s) }
func (m *machine) wide(s *modelled) bool    { return !s.readOnly && !s.shared }

// on does something to one session of a kind; without one the command is skipped.
func (m *machine) on(kind func(*modelled) bool, do func(*modelled)) {
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

func (m *machine) onOwed(do func(n int)) {
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

// check holds the Manager to the model.
func (m *machine) check() {
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
		return slices.Equal(awake, running) && units == len(running) && kept == 3*len(running)
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
func (m *machine) finish() {
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
		if strings.Contains(stack, "fjmcp-broker/internal/session/unit.") || strings.Contains(stack, "fjmcp-broker/internal/session/relay.") {
			n++
		}
	}
	return n
}
