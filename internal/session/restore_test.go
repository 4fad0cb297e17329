package session_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/eventstore"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay"
	"github.com/fjmcp/fjmcp-broker/internal/session/subscription"
)

// keeper plays the service manager's descriptor store.
type keeper struct {
	mu    sync.Mutex
	files map[string][]*os.File
}

func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	ctlErr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(ctlErr, err); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (k *keeper) Keep(_ context.Context, id string, files ...*os.File) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range files {
		kept, err := duplicate(f)
		if err != nil {
			return err
		}
		k.files[id] = append(k.files[id], kept)
	}
	return nil
}

func (k *keeper) Forget(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.files[id] {
		f.Close()
	}
	delete(k.files, id)
	return nil
}

// passed is what the next process gets; the store keeps its own.
func (k *keeper) passed(t *testing.T) map[string][]*os.File {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[string][]*os.File{}
	for id, files := range k.files {
		for _, f := range files {
			again, err := duplicate(f)
			if err != nil {
				t.Fatal(err)
			}
			all[id] = append(all[id], again)
		}
	}
	return all
}

// write writes what the process before began to say.
func (k *keeper) write(t *testing.T, id, text string) {
	t.Helper()
	for _, f := range k.passed(t)[id] {
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&os.ModeNamedPipe == 0 { // not the backend's standard input
			continue
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
}

func (k *keeper) count() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, files := range k.files {
		n += len(files)
	}
	return n
}

const beginning = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// lasting is start with a keeper.
func lasting(t *testing.T, backend string) (*world, *keeper) {
	w, k := start(t, backend), &keeper{files: map[string][]*os.File{}}
	w.cfg.Keeper = k
	w.Manager = session.New(w.cfg)
	t.Cleanup(func() {
		for id := range k.passed(t) {
			w.must(w.cfg.Launcher.Stop(context.Background(), id))
		}
	})
	return w, k
}

// begin makes a session that has answered a call.
func (w *world) begin(access model.Access) *session.Session {
	w.t.Helper()
	s, _, err := w.Create(w.t.Context(), access, message(beginning))
	w.must(err)
	w.must(s.Tell(w.t.Context(), message(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)))
	w.works(s, access)
	return s
}

// works wants s to answer a call.
func (w *world) works(s *session.Session, access model.Access) {
	w.t.Helper()
	all := w.call(s, access, `{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"get_my_user_info"}}`)
	if last := all[len(all)-1]; string(last.ID()) != `"w"` || last.Failed() {
		w.t.Fatalf("answered %s", last.Raw)
	}
}

// again finds a session in another manager.
func (w *world) again(s *session.Session) *session.Session {
	w.t.Helper()
	found, err := w.Get(w.t.Context(), s.ID(), w.access)
	w.must(err)
	return found
}

// succeed starts the next process, after an orderly end.
func (w *world) succeed(k *keeper, resume func(*session.Session, []*session.Call)) {
	w.t.Helper()
	w.Shutdown(w.t.Context())
	w.follow(k, resume)
}

// succeedKilled starts the next process after one that took over and was killed: what
// was written down for that one is gone.
func (w *world) succeedKilled(k *keeper) {
	w.t.Helper()
	w.Shutdown(w.t.Context())
	_, err := w.store.ResumeSessions(w.t.Context(), w.units())
	w.must(err)
	w.follow(k, func(_ *session.Session, calls []*session.Call) {
		if len(calls) > 0 {
			w.t.Errorf("%d calls came back after a kill", len(calls))
		}
	})
}

func (w *world) follow(k *keeper, resume func(*session.Session, []*session.Call)) {
	w.t.Helper()
	w.Manager = session.New(w.cfg)
	w.must(w.Restore(w.t.Context(), k.passed(w.t), resume))
	w.must(w.Reconcile(w.t.Context()))
}

func none(*session.Session, []*session.Call) {}

// carry is what call.Exchange.Carry does.
func carry(s *session.Session, c *session.Call, l *eventstore.Log) {
	defer s.Carry(c, l)()
	for {
		e, err := c.Next(context.Background())
		if err != nil {
			return
		}
		l.Append(e.Raw)
		if e.Final {
			l.Close()
			return
		}
	}
}

// A session goes on in its unit under the next process, with its log, and the call
// that was in flight is answered once, in the stream where its client looks for it.
func TestSessionsOutliveTheProcess(t *testing.T) {
	w, k := lasting(t, "standin")
	s := w.begin(w.access)
	before := w.units()
	c, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"slow","arguments":{"ms":1000,"steps":4},"_meta":{"progressToken":"p"}}}`))
	w.must(err)
	l := s.Streams().NewLog("")
	first := make(chan struct{})
	go func() {
		_, _, changed := l.Follow(0).Read()
		<-changed
		close(first)
	}()
	go carry(s, c, l)
	<-first

	w.succeed(k, func(s *session.Session, calls []*session.Call) {
		for _, c := range calls {
			go carry(s, c, s.Carried(c))
		}
	})
	s = w.again(s)
	w.works(s, w.access)
	if now := w.units(); !slices.Equal(now, before) {
		t.Errorf("units %q, before %q", now, before)
	}
	f := s.Streams().Log(l.ID()).Follow(0)
	defer f.Close()
	var told []string
	for {
		events, done, changed := f.Read()
		for _, e := range events {
			told = append(told, string(e.Raw))
		}
		if done {
			break
		}
		<-changed
	}
	if n := strings.Count(strings.Join(told, "\n"), "waited 1000 ms"); n != 1 || !strings.Contains(told[len(told)-1], `"id":2`) {
		t.Errorf("the stream holds %d answers: %q", n, told)
	}
	if len(told) != 5 {
		t.Errorf("want four times progress and an answer: %q", told)
	}
	w.must(w.End(t.Context(), s))
	if n := k.count(); n != 0 || len(w.units()) != 0 {
		t.Errorf("%d descriptors and units %q are left", n, w.units())
	}
}

// After a kill nothing was written down: the session goes on all the same, calls of
// before are no one's, and the mode is what it was.
func TestSessionsOutliveAKill(t *testing.T) {
	w, k := lasting(t, "standin")
	s := w.begin(w.reader())
	before := w.units()
	_, err := s.Call(t.Context(), w.reader(), message(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"slow","arguments":{"ms":200}}}`))
	w.must(err)
	w.succeedKilled(k)
	s = w.again(s)
	if !s.ReadOnly() {
		t.Error("the session is not read-only any more")
	}
	w.works(s, w.reader())
	all := w.call(s, w.reader(), `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"create_issue","arguments":{"owner":"alice","repo":"hello","title":"x"}}}`)
	if last := all[len(all)-1]; !last.Failed() {
		t.Errorf("a read-only session wrote: %s", last.Raw)
	}
	if now := w.units(); !slices.Equal(now, before) {
		t.Errorf("units %q, before %q", now, before)
	}
	// Nobody knows what a narrower token began.
	w.works(s, w.access)
	if now := w.units(); len(now) != 1 || now[0] == before[0] {
		t.Errorf("the unit was raised in spite of calls that nobody knows of: %q, before %q", now, before)
	}
}

// A backend that has read half a line is replaced, if it minds.
func TestACutLine(t *testing.T) {
	w, k := lasting(t, "standin")
	s := w.begin(w.access)
	before := w.units()
	k.write(t, before[0], `{"jsonrpc":"2.0","id":99,"method":"tools/ca`)
	w.succeedKilled(k)
	s = w.again(s)
	w.works(s, w.access)
	if now := w.units(); len(now) != 1 {
		t.Errorf("units %q", now)
	}
}

// What does not match is put right: units without a session and with half their
// descriptors end, sessions without a unit wake.
func TestLeftovers(t *testing.T) {
	w, k := lasting(t, "standin")
	whole, half, gone, ended := w.begin(w.access), w.begin(w.access), w.begin(w.access), w.begin(w.access)
	unit := func(s *session.Session) string {
		row, err := w.store.Session(t.Context(), s.ID())
		w.must(err)
		return row.UnitID
	}
	stays := unit(whole)
	w.Shutdown(t.Context())
	k.files[unit(half)][0].Close()
	k.files[unit(half)] = k.files[unit(half)][1:]
	w.must(k.Forget(unit(gone)))
	w.must(w.store.DeleteSession(t.Context(), ended.ID()))
	w.follow(k, none)
	w.until("only the whole one's unit runs", func() bool { return slices.Equal(w.units(), []string{stays}) })
	if n := k.count(); n != 3 {
		t.Errorf("%d descriptors are kept", n)
	}
	for _, s := range []*session.Session{whole, half, gone} {
		w.works(w.again(s), w.access)
	}
	if _, err := w.Get(t.Context(), ended.ID(), w.access); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the ended session: %v", err)
	}
	if n := k.count(); n != 9 {
		t.Errorf("%d descriptors are kept for three units", n)
	}
}

// The limits count what goes on from before.
func TestRestoredUnitsCount(t *testing.T) {
	w, k := lasting(t, "standin")
	w.cfg.PerUser = 2
	w.Manager = session.New(w.cfg)
	w.begin(w.access)
	w.begin(w.access)
	w.succeed(k, none)
	w.begin(w.access)
	if n := len(w.units()); n != 2 {
		t.Errorf("%d units run, at most 2 may", n)
	}
}

// A shared session knows again what its backend is, without asking it.
func TestSharedSessionsOutliveAKill(t *testing.T) {
	for _, backend := range []string{"everything", "held"} {
		t.Run(backend, func(t *testing.T) {
			w, k := lasting(t, backend)
			before, units := w.server(w.shared(w.access), w.access), w.units()
			w.succeedKilled(k)
			s := w.shared(w.access)
			if got := w.server(s, w.access); got.Protocol != before.Protocol || string(got.Info) != string(before.Info) || got.Modern != before.Modern || string(got.Discover) != string(before.Discover) {
				t.Errorf("got %+v\nwant %+v", got, before)
			}
			if got := w.units(); !slices.Equal(got, units) {
				t.Errorf("units %q, before %q", got, units)
			}
			if _, err := s.Subscribe(t.Context(), w.access, subscription.Filter{Tools: true}); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a suspended session is asked is told so, and lost to nobody.
func TestSuspendedSessionsTakeNothing(t *testing.T) {
	w, k := lasting(t, "standin")
	s := w.begin(w.access)
	w.Shutdown(t.Context())
	if _, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)); !errors.Is(err, relay.ErrSuspended) {
		t.Errorf("got %v", err)
	}
	w.follow(k, none)
	w.works(w.again(s), w.access)
}

// A unit that goes on has the user's token of now, though another process renewed it
// when none attended to the unit: the forge refuses nothing.
func TestRestoredUnitsGetTheTokenOfNow(t *testing.T) {
	w, k := lasting(t, "standin")
	s := w.begin(w.access)
	w.Shutdown(t.Context())
	stale, err := w.cfg.Tokens.Stored(t.Context(), w.login.User.ID)
	w.must(err)
	w.forge.ExpireAccessTokens()
	_, err = w.cfg.Tokens.Renew(t.Context(), w.login.User.ID, stale.AccessToken)
	w.must(err)
	w.follow(k, none)
	const path = "/api/v1/user"
	before := w.forge.Requests(path)
	w.works(w.again(s), w.access)
	if n := w.forge.Requests(path) - before; n != 1 {
		t.Errorf("the forge was asked %d times", n)
	}
}

// The real backend minds neither an empty line nor a cut one.
func TestRealBackendsOutliveAKill(t *testing.T) {
	path := os.Getenv("FJMCP_TEST_FORGEJO_MCP")
	if path == "" {
		t.Skip("set FJMCP_TEST_FORGEJO_MCP to a forgejo-mcp binary")
	}
	for _, cut := range []string{"", `{"jsonrpc":"2.0","id":99,"method":"tools/ca`} {
		w, k := lasting(t, path)
		s := w.begin(w.access)
		before := w.units()
		k.write(t, before[0], cut)
		w.succeedKilled(k)
		w.works(w.again(s), w.access)
		if now := w.units(); !slices.Equal(now, before) {
			t.Errorf("after %q: units %q, before %q", cut, now, before)
		}
	}
}
