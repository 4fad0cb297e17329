package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// clock is a settable time.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) (*store.Store, *clock) {
	t.Helper()
	c := newClock()
	return teststore.Open(t, teststore.Path(t), c.Now), c
}

// Of SQLite's file.
func TestFileModes(t *testing.T) {
	keys, err := seal.NewKeyring(make([]byte, seal.KeySize))
	must(t, err)
	tests := []struct {
		name    string
		prepare func(t *testing.T, path string)
		want    string
	}{
		{"new", func(*testing.T, string) {}, ""},
		{"group can read", func(t *testing.T, p string) {
			must(t, os.WriteFile(p, nil, 0o600))
			must(t, os.Chmod(p, 0o640))
		}, "mode is 0640"},
		{"a link", func(t *testing.T, p string) {
			must(t, os.WriteFile(p+"x", nil, 0o600))
			must(t, os.Symlink(p+"x", p))
		}, "not a regular file"},
		{"others write the directory", func(t *testing.T, p string) {
			must(t, os.Chmod(filepath.Dir(p), 0o777))
		}, "lets other users write"},
		{"another owner", func(t *testing.T, p string) {
			if os.Geteuid() != 0 {
				t.Skip("needs root to give a file away")
			}
			must(t, os.WriteFile(p, nil, 0o600))
			must(t, os.Chown(p, 12345, 12345))
		}, "belongs to uid 12345"},
		{"not a database", func(t *testing.T, p string) {
			must(t, os.WriteFile(p, bytes.Repeat([]byte("x"), 4096), 0o600))
		}, "restore a backup"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state", "fjmcp.db")
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			tt.prepare(t, path)
			s, err := store.Open(t.Context(), store.Options{Path: path, Keys: keys})
			if tt.want == "" {
				must(t, err)
				must(t, s.Check(t.Context()))
				checkModes(t, filepath.Dir(path))
				must(t, s.Close())
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
		})
	}
}

// checkModes asserts that the database and its companions are private.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	if len(files) < 3 {
		t.Errorf("want database, -wal and -shm, have %v", files)
	}
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) { teststore.Both(t, testNewerDatabaseIsRefused) }

func testNewerDatabaseIsRefused(t *testing.T) {
	path := teststore.Path(t)
	teststore.Open(t, path, nil)
	db, err := openSQL(path)
	must(t, err)
	defer db.Close()
	_, err = db.Exec("INSERT INTO migrations (id) VALUES ('9999_future')")
	must(t, err)
	keys, err := seal.NewKeyring(make([]byte, seal.KeySize))
	must(t, err)
	o := teststore.At(path)
	o.Keys = keys
	_, err = store.Open(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("error is %v", err)
	}
}

// Where no transaction can begin, as while another program keeps the database locked, that
// is an error and no crash.
func TestOpenIsCutOff(t *testing.T) { teststore.Both(t, testOpenIsCutOff) }

func testOpenIsCutOff(t *testing.T) {
	keys, err := seal.NewKeyring(make([]byte, seal.KeySize))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := teststore.At(teststore.Path(t))
	o.Keys = keys
	if _, err = store.Open(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestManyOpenAtOnce(t *testing.T) { teststore.Both(t, testManyOpenAtOnce) }

func testManyOpenAtOnce(t *testing.T) {
	path := teststore.Path(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if err := teststore.Open(t, path, nil).Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestUpsertUser(t *testing.T) { teststore.Both(t, testUpsertUser) }

func testUpsertUser(t *testing.T) {
	s, _ := open(t)
	first, err := s.UpsertUser(t.Context(), "https://f", "3", "alice")
	must(t, err)
	renamed, err := s.UpsertUser(t.Context(), "https://f", "3", "alice2")
	must(t, err)
	other, err := s.UpsertUser(t.Context(), "https://g", "3", "alice")
	must(t, err)
	if renamed.ID != first.ID || renamed.Name != "alice2" || other.ID == first.ID {
		t.Errorf("first %v, renamed %v, other forge %v", first, renamed, other)
	}
	got, err := s.User(t.Context(), first.ID)
	must(t, err)
	if got != renamed {
		t.Errorf("got %v, want %v", got, renamed)
	}
}

// A name is one user's at a time: whoever is known by another's name of now has lost it.
func TestNamesAreTakenOver(t *testing.T) { teststore.Both(t, testNamesAreTakenOver) }

func testNamesAreTakenOver(t *testing.T) {
	s, _ := open(t)
	dora, err := s.UpsertUser(t.Context(), "https://f", "5", "dora")
	must(t, err)
	elsewhere, err := s.UpsertUser(t.Context(), "https://g", "5", "dora")
	must(t, err)
	before, err := s.Generation(t.Context(), 0)
	must(t, err)
	other, err := s.UpsertUser(t.Context(), "https://f", "9", "Dora")
	must(t, err)
	after, err := s.Generation(t.Context(), 0)
	if err != nil || after == before {
		t.Error("what is remembered of the first stands")
	}
	for id, want := range map[string]string{dora.ID: "", elsewhere.ID: "dora", other.ID: "Dora"} {
		if got, err := s.User(t.Context(), id); err != nil || got.Name != want {
			t.Errorf("%+v, %v; want the name %q", got, err, want)
		}
	}
	if dora, err = s.UpsertUser(t.Context(), "https://f", "5", "eve"); err != nil || dora.Name != "eve" {
		t.Errorf("%+v, %v", dora, err)
	}
}

func TestForgejoTokens(t *testing.T) { teststore.Both(t, testForgejoTokens) }

func testForgejoTokens(t *testing.T) {
	s, c := open(t)
	u, err := s.UpsertUser(t.Context(), "https://f", "3", "alice")
	must(t, err)
	_, err = s.ForgejoTokens(t.Context(), u.ID)
	wantErr(t, err, model.ErrNotFound)
	for _, token := range []string{"one", "two"} {
		want := model.ForgejoTokens{AccessToken: token, RefreshToken: "r" + token, ExpiresAt: c.Now(), Scope: "read:user"}
		must(t, s.PutForgejoTokens(t.Context(), u.ID, want))
		got, err := s.ForgejoTokens(t.Context(), u.ID)
		must(t, err)
		if got != want {
			t.Error("the token set changed on its way through the store")
		}
	}
	must(t, teststore.DropTokens(t.Context(), s, u.ID))
	_, err = s.ForgejoTokens(t.Context(), u.ID)
	wantErr(t, err, model.ErrNotFound)
}

// TestNoSecretInTheFiles logs in, rotates, and greps the bytes on disk.
func TestNoSecretInTheFiles(t *testing.T) { teststore.Both(t, testNoSecretInTheFiles) }

func testNoSecretInTheFiles(t *testing.T) {
	path, c := teststore.Path(t), newClock()
	s := teststore.Open(t, path, c.Now)
	l := teststore.LogIn(t, s, "alice", c.Now())
	_, next, err := s.Rotate(t.Context(), l.Pair.Refresh, l.Client, teststore.Pair(c.Now()), store.Asked{})
	must(t, err)
	must(t, s.CreateLogin(t.Context(), store.Login{
		StateHash: model.Hash("st"), BrowserHash: model.Hash("br"), ClientID: l.Client.ID,
		Verifier: "our-own-verifier", ExpiresAt: c.Now().Add(time.Hour),
	}))
	disk := onDisk(t, path)
	if !bytes.Contains(disk, []byte("test client")) {
		t.Fatal("the client's name is not on disk: the search below would prove nothing")
	}
	for _, secret := range []string{
		l.Pair.Access, l.Pair.Refresh, next.Access, next.Refresh, "forge-access-alice", "forge-refresh-alice", "our-own-verifier",
	} {
		if bytes.Contains(disk, []byte(secret)) {
			t.Errorf("the database holds a secret in clear (%.8s…)", secret)
		}
	}
}

func TestLogins(t *testing.T) { teststore.Both(t, testLogins) }

func testLogins(t *testing.T) {
	s, c := open(t)
	l := teststore.LogIn(t, s, "alice", c.Now())
	want := store.Login{
		StateHash: model.Hash("state"), BrowserHash: model.Hash("browser"), ClientID: l.Client.ID, RedirectURI: "http://localhost/cb",
		ClientState: "xyz", Challenge: "ch", Scope: "s", Resource: "r", Verifier: "v", ExpiresAt: c.Now().Add(time.Minute),
	}
	must(t, s.CreateLogin(t.Context(), want))
	got, err := s.Login(t.Context(), want.StateHash)
	must(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
	if _, err = s.TakeLogin(t.Context(), want.StateHash); err != nil {
		t.Fatal(err)
	}
	_, err = s.TakeLogin(t.Context(), want.StateHash)
	wantErr(t, err, model.ErrReused)
	want.Set = model.ForgejoTokens{AccessToken: "forge-access-new", RefreshToken: "forge-refresh-new", ExpiresAt: c.Now().UTC().Truncate(time.Second)}
	must(t, s.KeepLoginSet(t.Context(), want.StateHash, want.Set))
	if got, err = s.TakeLogin(t.Context(), want.StateHash); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with its set the login cannot be taken again: %v", err)
	}
	unfinished, err := s.UnfinishedLogins(t.Context(), c.Now().Add(time.Second))
	if err != nil || len(unfinished) != 1 || unfinished[0].Set != want.Set {
		t.Errorf("%d unfinished, %v", len(unfinished), err)
	}
	c.Add(time.Minute)
	_, err = s.Login(t.Context(), want.StateHash)
	wantErr(t, err, model.ErrExpired)
	finish := func(grant string) error {
		first, err := s.FinishLogin(t.Context(), want.StateHash, model.Grant{ID: grant, UserID: l.User.ID, ClientID: l.Client.ID, CreatedAt: c.Now()},
			store.Code{Hash: model.Hash(grant), ExpiresAt: c.Now().Add(time.Minute)})
		if first {
			t.Error("a client with a row is new")
		}
		return err
	}
	must(t, finish("g2"))
	wantErr(t, finish("g3"), model.ErrNotFound)
	must(t, s.DropLogin(t.Context(), want.StateHash))
}

// Of SQLite, which has the caller's clock; see TestLeaseByTheServersClock.
func TestLease(t *testing.T) {
	s, c := open(t)
	steps := []struct {
		holder string
		wait   time.Duration
		want   bool
	}{
		{"a", 0, true}, {"b", 0, false}, {"a", 0, true}, {"b", 9 * time.Second, false}, {"b", time.Second, true}, {"a", 0, false},
	}
	for i, step := range steps {
		c.Add(step.wait)
		got, err := s.AcquireLease(t.Context(), "n", step.holder, 10*time.Second)
		must(t, err)
		if got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	must(t, s.ReleaseLease(t.Context(), "n", "a"))
	if got, _ := s.AcquireLease(t.Context(), "n", "a", time.Second); got {
		t.Error("a released what b holds")
	}
	must(t, s.ReleaseLease(t.Context(), "n", "b"))
	if got, _ := s.AcquireLease(t.Context(), "n", "a", time.Second); !got {
		t.Error("a released lease is not free")
	}
}

func TestSessions(t *testing.T) { teststore.Both(t, testSessions) }

func testSessions(t *testing.T) {
	s, c := open(t)
	l := teststore.LogIn(t, s, "alice", c.Now())
	want := model.Session{
		ID: "s1", UnitID: "u1", UserID: l.User.ID, UserName: "alice", Subject: l.User.Subject, ClientID: l.Client.ID, ClientName: "test client",
		GrantID: l.Grant.ID, Kind: model.SessionClient, Protocol: "2025-11-25", Initialize: `{"method":"initialize"}`, CreatedAt: c.Now(), LastUsedAt: c.Now(),
	}
	must(t, s.CreateSession(t.Context(), want))
	second := want
	second.ID, second.UnitID = "s2", ""
	must(t, s.CreateSession(t.Context(), second))
	must(t, s.TouchSession(t.Context(), "s1", c.Now().Add(time.Second)))
	must(t, s.SetSessionUnit(t.Context(), "s1", "u9"))
	must(t, s.SetSessionServer(t.Context(), "s1", `{"modern":true}`, "2025-06-18"))
	must(t, s.SetSessionLogLevel(t.Context(), "s1", `{"method":"logging/setLevel"}`))
	want.LastUsedAt, want.UnitID, want.Protocol = c.Now().Add(time.Second), "u9", "2025-06-18"
	want.Server, want.LogLevel = `{"modern":true}`, `{"method":"logging/setLevel"}`
	got, err := s.Session(t.Context(), "s1")
	must(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	list, err := s.Sessions(t.Context())
	must(t, err)
	listed := want
	listed.Initialize, listed.Server, listed.LogLevel = "", "", ""
	if len(list) != 2 || list[0].ID != "s2" || !reflect.DeepEqual(list[1], listed) {
		t.Errorf("sessions: %+v", list)
	}
	units, err := s.SessionUnits(t.Context())
	must(t, err)
	if len(units) != 1 || units["u9"] != "s1" {
		t.Errorf("units: %v", units)
	}
	wantErr(t, s.SetSessionUnit(t.Context(), "s3", "u"), model.ErrNotFound)
	must(t, s.DeleteSession(t.Context(), "s1"))
	_, err = s.Session(t.Context(), "s1")
	wantErr(t, err, model.ErrNotFound)
	must(t, l.Revoke(t.Context(), s))
	wantErr(t, s.CreateSession(t.Context(), want), model.ErrRevoked)
}

// Two processes that ask for a grant's shared session get the same, one for each
// mode, and none of a grant that has ended.
func TestSharedSessions(t *testing.T) { teststore.Both(t, testSharedSessions) }

func testSharedSessions(t *testing.T) {
	path := teststore.Path(t)
	one, other := teststore.Open(t, path, nil), teststore.Open(t, path, nil)
	l := teststore.LogIn(t, one, "alice", time.Now())
	ask := func(s *store.Store, id string, readOnly bool) (model.Session, error) {
		return s.SharedSession(t.Context(), model.Session{ID: id, UserID: l.User.ID, ClientID: l.Client.ID, GrantID: l.Grant.ID, ReadOnly: readOnly, CreatedAt: time.Now()})
	}
	var ids [20]string
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			v, err := ask([]*store.Store{one, other}[i%2], fmt.Sprint("s", i), i%4 < 2)
			if err != nil {
				t.Error(err)
			}
			if v.Kind != model.SessionShared || v.UserName != "alice" || v.ReadOnly != (i%4 < 2) {
				t.Errorf("got %+v", v)
			}
			ids[i] = v.ID
		})
	}
	all.Wait()
	for i, id := range ids {
		if id != ids[i%4/2*2] {
			t.Errorf("request %d got session %s", i, id)
		}
	}
	list, err := one.Sessions(t.Context())
	must(t, err)
	if len(list) != 2 {
		t.Errorf("sessions: %+v", list)
	}
	must(t, other.DeleteSession(t.Context(), ids[0]))
	if v, err := ask(one, "next", true); err != nil || v.ID != "next" {
		t.Errorf("after its end: %+v, %v", v, err)
	}
	must(t, l.Revoke(t.Context(), other))
	_, err = ask(one, "late", true)
	wantErr(t, err, model.ErrRevoked)
}

func TestCollect(t *testing.T) { teststore.Both(t, testCollect) }

func testCollect(t *testing.T) {
	s, c := open(t)
	ctx := context.Background()
	l := teststore.LogIn(t, s, "alice", c.Now())
	unused := model.Client{ID: "unused", AuthMethod: "none", CreatedAt: c.Now()}
	must(t, s.CreateClient(ctx, unused))
	c.Add(23 * time.Hour)
	must(t, s.Collect(ctx))
	if _, err := s.Client(ctx, "unused"); err != nil {
		t.Errorf("a client was collected within a day: %v", err)
	}
	c.Add(30 * 24 * time.Hour)
	must(t, s.Collect(ctx))
	_, err := s.Client(ctx, "unused")
	wantErr(t, err, model.ErrNotFound)
	_, err = s.Access(ctx, model.Hash(l.Pair.Access))
	wantErr(t, err, model.ErrNotFound)
	if _, err := s.Client(ctx, l.Client.ID); err != nil {
		t.Errorf("a client with a grant was collected: %v", err)
	}
	_, err = s.Disconnect(ctx, l.User.ID, l.Client.ID)
	must(t, err)
	c.Add(91 * 24 * time.Hour)
	must(t, s.Collect(ctx))
	_, err = s.Grant(ctx, l.Grant.ID)
	wantErr(t, err, model.ErrNotFound)
}

// newSession stores a session of the login that runs in no unit.
func newSession(t testing.TB, s *store.Store, l teststore.Login) model.Session {
	t.Helper()
	v := model.Session{
		ID: model.NewID(), UserID: l.User.ID, UserName: l.User.Name, ClientID: l.Client.ID, ClientName: l.Client.Name,
		GrantID: l.Grant.ID, CreatedAt: l.Grant.CreatedAt, LastUsedAt: l.Grant.CreatedAt,
	}
	if err := s.CreateSession(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Whatever the verb, also one that is wrong for it, no secret is printed.
// It needs no database.
func TestSecretsPrintRedacted(t *testing.T) {
	for _, v := range []any{
		store.Pair{Access: "SECRET", Refresh: "SECRET"}, store.Login{Verifier: "SECRET", ClientState: "SECRET"},
		model.ForgejoTokens{AccessToken: "SECRET", RefreshToken: "SECRET"}, oauth.Credentials{Secret: "SECRET", Assertion: "SECRET"},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, "SECRET") || strings.Contains(got, "534543524554") || !strings.Contains(got, "redacted") {
				t.Errorf("%T by %s: %s", v, verb, got)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("one", "value", v)
		if !strings.Contains(log.String(), "redacted") || strings.Contains(log.String(), "SECRET") {
			t.Errorf("%T in a log: %s", v, log.String())
		}
	}
}
