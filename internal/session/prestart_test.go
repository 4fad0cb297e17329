package session_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

const hello = `{"jsonrpc":"2.0","id":"first","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// ahead is a world whose timers the test fires and whose launcher tells what was
// started.
type ahead struct {
	*world
	launches *launches

	mu     sync.Mutex
	timers map[*func()]bool
}

// launches records what a launcher is asked to start.
type launches struct {
	launchclient.Launcher
	mu    sync.Mutex
	specs []launchclient.Spec
}

func (l *launches) Start(ctx context.Context, spec launchclient.Spec) error {
	l.mu.Lock()
	l.specs = append(l.specs, spec)
	l.mu.Unlock()
	return l.Launcher.Start(ctx, spec)
}

func (l *launches) all() []launchclient.Spec {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]launchclient.Spec(nil), l.specs...)
}

func startAhead(t *testing.T, backend string, set func(*session.Config)) *ahead {
	t.Helper()
	w := &ahead{world: start(t, backend), timers: map[*func()]bool{}}
	w.launches = &launches{Launcher: w.cfg.Launcher}
	w.cfg.Launcher, w.cfg.AfterFunc = w.launches, w.after
	if set != nil {
		set(&w.cfg)
	}
	w.Manager = session.New(w.cfg)
	return w
}

func (w *ahead) after(_ time.Duration, f func()) (stop func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timers[&f] = true
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		pending := w.timers[&f]
		delete(w.timers, &f)
		return pending
	}
}

// fire lets the time of all timers come.
func (w *ahead) fire() {
	w.mu.Lock()
	due := w.timers
	w.timers = map[*func()]bool{}
	w.mu.Unlock()
	for f := range due {
		(*f)()
	}
}

// login is that of another client of alice.
func (w *ahead) another() model.Access {
	w.t.Helper()
	set, err := w.store.ForgejoTokens(w.t.Context(), w.login.User.ID)
	w.must(err)
	l := teststore.LogIn(w.t, w.store, "alice", w.now())
	w.must(w.store.PutForgejoTokens(w.t.Context(), l.User.ID, set))
	a := w.access
	a.ClientID, a.GrantID = l.Client.ID, l.Grant.ID
	return a
}

// waiting is the id of the one unit that runs, once it does.
func (w *ahead) waiting() string {
	w.t.Helper()
	w.until("a unit runs", func() bool { return len(w.units()) == 1 })
	return w.units()[0]
}

func (w *ahead) create(access model.Access) *session.Session {
	w.t.Helper()
	s, answer, err := w.Create(w.t.Context(), access, message(hello))
	w.must(err)
	if m := message(string(answer)); string(m.ID()) != `"first"` || m.ResultString("protocolVersion") != "2025-06-18" {
		w.t.Fatalf("answer %s", answer)
	}
	return s
}

// unitOf is the unit of a session as the operator sees it.
func (w *ahead) unitOf(s *session.Session) session.View {
	w.t.Helper()
	list, err := w.List(w.t.Context())
	w.must(err)
	for _, v := range list {
		if v.ID == s.ID() {
			return v
		}
	}
	w.t.Fatal("the session is not listed")
	return session.View{}
}

func (w *ahead) logged(text string) int { return strings.Count(w.log.String(), text) }

// The first session after a login is that of the unit that was started for it, by
// whatever request it begins, and also if that comes while the unit starts.
func TestFirstSessionIsAhead(t *testing.T) {
	for name, begin := range map[string]func(*ahead) *session.Session{
		"initialize": func(w *ahead) *session.Session { return w.create(w.access) },
		"shared": func(w *ahead) *session.Session {
			s := w.shared(w.access)
			w.server(s, w.access)
			return s
		},
	} {
		for _, wait := range []bool{true, false} {
			t.Run(name+" "+strconv.FormatBool(wait), func(t *testing.T) {
				w := startAhead(t, "standin", nil)
				w.Prestart(w.access)
				began := w.now()
				if w.Waiting() != 1 || len(w.Awake()) != 0 {
					t.Errorf("%d wait, %d are awake", w.Waiting(), len(w.Awake()))
				}
				if wait {
					w.waiting()
					w.must(w.Reconcile(t.Context()))
				}
				w.advance(30 * time.Second)
				s := begin(w)
				specs := w.launches.all()
				if len(specs) != 1 || specs[0].SessionID != s.Label() || specs[0].MaxAge != w.cfg.MaxAge {
					t.Fatalf("started %+v for session %s", specs, s.Label())
				}
				v := w.unitOf(s)
				if v.Unit != launchproto.UnitName(specs[0].UnitID) || !v.CreatedAt.Equal(began.Truncate(time.Millisecond)) || !v.LastUsedAt.Equal(w.now()) {
					t.Errorf("listed as %+v", v)
				}
				if w.Waiting() != 0 || w.logged("FJMCP_EVENT=session_started") != 1 {
					t.Errorf("%d wait still; log:\n%s", w.Waiting(), w.log)
				}
				w.fire()
				if all := w.call(s, w.access, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`); all[len(all)-1].IsError() {
					t.Errorf("answer %s", all[0].Raw)
				}
				w.must(w.End(t.Context(), s))
				w.until("it is gone", func() bool { return len(w.units()) == 0 })
			})
		}
	}
}

// Each login has a unit of its own, and one at most; no other session gets it.
func TestOneUnitAheadOfEachLogin(t *testing.T) {
	w := startAhead(t, "standin", nil)
	other := w.another()
	w.Prestart(w.access)
	w.Prestart(w.access)
	w.Prestart(other)
	if w.Waiting() != 2 {
		t.Fatalf("%d wait", w.Waiting())
	}
	first := w.create(w.another())
	if w.Waiting() != 2 {
		t.Error("a login whose unit is not there took another's")
	}
	second, third := w.create(other), w.create(w.access)
	again := w.create(w.access)
	if n := len(w.launches.all()); n != 4 {
		t.Errorf("%d units for four sessions", n)
	}
	labels := map[string]bool{}
	for _, spec := range w.launches.all() {
		labels[spec.SessionID] = true
	}
	for _, s := range []*session.Session{first, second, third, again} {
		if !labels[s.Label()] {
			t.Errorf("no unit was started as session %s", s.Label())
		}
	}
}

// A read-only token's session is not one that may write.
func TestUnitAheadHasTheLoginsMode(t *testing.T) {
	w := startAhead(t, "standin", nil)
	w.Prestart(w.access)
	if s := w.create(w.reader()); !s.ReadOnly() || w.Waiting() != 1 {
		t.Errorf("read-only %v, %d wait", s.ReadOnly(), w.Waiting())
	}
	if s := w.create(w.reading()); !s.ReadOnly() || w.Waiting() != 1 {
		t.Errorf("at an address for reading: read-only %v, %d wait", s.ReadOnly(), w.Waiting())
	}
	if s, err := w.Shared(t.Context(), w.reading()); err != nil || !s.ReadOnly() || w.Waiting() != 1 {
		t.Errorf("without a session, for reading: read-only %v, %d wait, %v", s.ReadOnly(), w.Waiting(), err)
	}
	if s := w.create(w.access); s.ReadOnly() || w.Waiting() != 0 || len(w.launches.all()) != 3 {
		t.Errorf("read-only %v, %d wait", s.ReadOnly(), w.Waiting())
	}
}

// What nobody comes for is stopped, and the session starts as it would have.
func TestUnitAheadThatIsNotUsed(t *testing.T) {
	for name, stop := range map[string]func(*ahead){
		"a minute over": func(w *ahead) { w.fire() },
		"login ended": func(w *ahead) {
			w.disconnect(w.access)
			w.must(w.EndGrant(w.t.Context(), w.access.GrantID))
		},
		"broker ends": func(w *ahead) { w.restart() },
		"reaped":      func(w *ahead) { w.must(w.cfg.Launcher.Stop(w.t.Context(), w.waiting())) },
		"killed":      func(w *ahead) { w.must(syscall.Kill(w.sessionProcess(), syscall.SIGKILL)) },
	} {
		for _, wait := range []bool{true, false} {
			t.Run(name+" "+strconv.FormatBool(wait), func(t *testing.T) {
				w := startAhead(t, "standin", nil)
				w.Prestart(w.access)
				if wait {
					w.waiting()
				}
				stop(w)
				w.until("it is gone", func() bool { return len(w.units()) == 0 && w.Waiting() == 0 })
				if name == "login ended" {
					w.refused()
				} else if w.create(w.access); len(w.units()) != 1 {
					t.Errorf("units %q", w.units())
				}
				if n := w.logged("FJMCP_EVENT=session_failed"); n != 0 {
					t.Errorf("%d sessions failed:\n%s", n, w.log)
				}
			})
		}
	}
}

// refused wants no session for a login that has ended.
func (w *ahead) refused() {
	w.t.Helper()
	_, _, err := w.Create(w.t.Context(), w.access, message(hello))
	if !errors.Is(err, model.ErrRevoked) {
		w.t.Errorf("got %v", err)
	}
	if n := w.logged("FJMCP_EVENT=session_stopped"); n != 1 || len(w.units()) > 0 {
		w.t.Errorf("%d sessions were stopped, %q run", n, w.units())
	}
}

// sessionProcess is the one fjmcp-session.
func (w *ahead) sessionProcess() (pid int) {
	w.t.Helper()
	w.waiting()
	files, err := filepath.Glob("/proc/self/task/*/children")
	w.must(err)
	for _, f := range files {
		children, _ := os.ReadFile(f) // of a thread that may have ended
		for field := range strings.FieldsSeq(string(children)) {
			if program, _ := os.ReadFile("/proc/" + field + "/comm"); string(program) == "fjmcp-session\n" {
				pid, err = strconv.Atoi(field)
				w.must(err)
			}
		}
	}
	if pid == 0 {
		w.t.Fatal("no fjmcp-session runs")
	}
	return pid
}

// A login that has ended before its unit is begun, a drain, and too many.
func TestNothingIsStartedAhead(t *testing.T) {
	w := startAhead(t, "held", nil)
	w.disconnect(w.access)
	w.Prestart(w.access)
	w.until("it was given up", func() bool { return w.Waiting() == 0 })
	w.ShutDoor()
	w.Prestart(w.another())
	if n := len(w.launches.all()); n != 0 || w.Waiting() != 0 {
		t.Errorf("%d started, %d wait", n, w.Waiting())
	}
	w.OpenDoor()
	for range 17 {
		w.Prestart(w.another())
	}
	if w.Waiting() != 16 {
		t.Errorf("%d wait", w.Waiting())
	}
	w.Shutdown(t.Context())
	w.Prestart(w.another())
	if n := len(w.units()); n != 0 || w.Waiting() != 0 {
		t.Errorf("%d run, %d wait after the end", n, w.Waiting())
	}
}

// The limits hold when a session begins: an idle unit makes room, a busy one does not.
func TestLimitsHoldForUnitsAhead(t *testing.T) {
	w := startAhead(t, "held", func(c *session.Config) { c.PerUser = 1 })
	other := w.another()
	idle := w.create(other)
	w.Prestart(w.access)
	w.until("both run", func() bool { return len(w.units()) == 2 })
	s := w.create(w.access)
	if w.unitOf(idle).Running() || !w.unitOf(s).Running() || len(w.units()) != 1 {
		t.Errorf("%d units run", len(w.units()))
	}
	c, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_sampling","arguments":{"prompt":"?"}}}`))
	w.must(err)
	defer c.Leave()
	w.Prestart(other)
	w.until("both run", func() bool { return len(w.units()) == 2 })
	if _, _, err := w.Create(t.Context(), other, message(hello)); !errors.Is(err, session.ErrBusy) {
		t.Errorf("got %v", err)
	}
	if n := len(w.units()); n != 1 || w.Waiting() != 0 {
		t.Errorf("%d units run, %d wait", n, w.Waiting())
	}
}

// A launcher that fails is left alone for a while, and nobody is told but the log.
func TestLauncherThatFailsAhead(t *testing.T) {
	const failed = "cannot start a session's unit ahead"
	w := startAhead(t, "absent", nil)
	w.Prestart(w.access)
	w.until("it has failed", func() bool { return w.logged(failed) == 1 && w.Waiting() == 0 })
	w.Prestart(w.access)
	if w.Waiting() != 0 {
		t.Error("tried again at once")
	}
	if n := w.logged("FJMCP_EVENT="); n != 0 {
		t.Errorf("%d events:\n%s", n, w.log)
	}
	w.advance(time.Minute)
	w.Prestart(w.access)
	w.until("it has failed again", func() bool { return w.logged(failed) == 2 })
	_, _, err := w.Create(t.Context(), w.access, message(hello))
	if session.StartReason(err) != control.ReasonBackendMissing {
		t.Errorf("got %v", err)
	}
}

// What is wrong with the backend is told of a session's own start, once.
func TestUnitAheadOfNoUse(t *testing.T) {
	w := startAhead(t, "old", nil)
	w.Prestart(w.access)
	_, _, err := w.Create(t.Context(), w.access, message(hello))
	if session.StartReason(err) != control.ReasonBackendTooOld {
		t.Errorf("got %v", err)
	}
	if n := w.logged("FJMCP_EVENT=session_failed"); n != 1 || len(w.launches.all()) != 2 {
		t.Errorf("%d failures, %d starts:\n%s", n, len(w.launches.all()), w.log)
	}
	w.until("nothing is left", func() bool { return len(w.units()) == 0 })
}
