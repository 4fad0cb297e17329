package apply

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/glebarez/go-sqlite" // looks at what is there, past the store

	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/store/snapshot"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// key is the one of teststore.
var key = bytes.Repeat([]byte("k"), seal.KeySize)

// backupOf makes a backup of a store.
func backupOf(t *testing.T, s *store.Store) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	c, err := snapshot.Take(t.Context(), s.Path(), path, teststore.Keys(t))
	must(t, err)
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	m := archive.Manifest{ID: model.NewID(), Made: time.Now(), Version: "1.2.3", Schema: c.Schema, Users: c.Users}
	must(t, m.Measure(f))
	r, _, err := m.Reader(f, teststore.Keys(t))
	must(t, err)
	all, err := io.ReadAll(r)
	must(t, err)
	return all
}

// scene is a state directory with a backup of what is in it; since then a user more has come.
type scene struct {
	dir, path     string
	backup        []byte
	alice, bob    teststore.Login
	later         teststore.Login // not in the backup
	sessionOfBobs string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	path := teststore.Path(t)
	sc := &scene{dir: filepath.Dir(path), path: path, sessionOfBobs: model.NewID()}
	s, err := store.Open(t.Context(), store.Options{Path: path, Keys: teststore.Keys(t)})
	must(t, err)
	now := time.Now()
	sc.alice, sc.bob = teststore.LogIn(t, s, "alice", now), teststore.LogIn(t, s, "bob", now)
	for id, l := range map[string]teststore.Login{model.NewID(): sc.alice, sc.sessionOfBobs: sc.bob} {
		must(t, s.CreateSession(t.Context(), model.Session{ID: id, UserID: l.User.ID, ClientID: l.Client.ID, GrantID: l.Grant.ID, CreatedAt: now, LastUsedAt: now}))
		must(t, s.SetSessionUnit(t.Context(), id, "unit of "+id))
	}
	must(t, s.CreateLogin(t.Context(), store.Login{StateHash: []byte("s"), BrowserHash: []byte("b"), ExpiresAt: now.Add(time.Hour)}))
	must(t, s.FinishAccountLogin(t.Context(), []byte("s"), store.AccountSession{Hash: []byte("h"), UserID: sc.alice.User.ID, ExpiresAt: now.Add(time.Hour)}))
	sc.backup = backupOf(t, s)
	sc.later = teststore.LogIn(t, s, "carol", now)
	must(t, s.Close())
	return sc
}

func (sc *scene) do(t *testing.T, o restore.Order) (restore.Answer, error) {
	t.Helper()
	o.StateDir, o.Keys = sc.dir, [][]byte{key}
	if b, err := archive.Read(bytes.NewReader(sc.backup), io.Discard); o.Do && o.ID == "" && err == nil {
		o.ID = b.ID
	}
	return Do(t.Context(), o, bytes.NewReader(sc.backup), time.Now())
}

// users returns the names in a database, by SQLite alone.
func users(path string) (string, error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return "", err
	}
	defer db.Close()
	var whole, names string
	err = db.QueryRow("SELECT (SELECT integrity_check FROM pragma_integrity_check), (SELECT group_concat(name, ' ') FROM (SELECT name FROM users ORDER BY name))").Scan(&whole, &names)
	if err == nil && whole != "ok" {
		err = errors.New(whole)
	}
	return names, err
}

func wantUsers(t *testing.T, what, path, want string) {
	t.Helper()
	if got, err := users(path); err != nil || got != want {
		t.Errorf("%s: %s has %q, %v; want %q", what, filepath.Base(path), got, err, want)
	}
}

func TestLookChangesNothing(t *testing.T) {
	sc := newScene(t)
	a, err := sc.do(t, restore.Order{})
	if err != nil || a.Users != 2 || a.Former != "" {
		t.Fatalf("%+v, %v", a, err)
	}
	wantUsers(t, "after a look", sc.path, "alice bob carol")
	if all, _ := os.ReadDir(sc.dir); len(all) != 1 {
		t.Errorf("there are %v", all)
	}
}

func TestRestore(t *testing.T) {
	sc := newScene(t)
	must(t, os.Mkdir(filepath.Join(sc.dir, "restore-left"), 0o700)) // by one that was killed
	a, err := sc.do(t, restore.Order{Do: true, Operator: "root (uid 0)", Outcome: restore.Replayed})
	must(t, err)
	wantUsers(t, "restored", sc.path, "alice bob")
	wantUsers(t, "former", a.Former, "alice bob carol")
	if all, _ := os.ReadDir(sc.dir); len(all) != 2 {
		t.Errorf("there are %v", all)
	}
	for _, path := range []string{sc.path, a.Former} {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	s := teststore.Open(t, sc.path, nil)
	units, err := s.SessionUnits(t.Context())
	if err != nil || len(units) > 0 {
		t.Errorf("sessions run in units %v, %v", units, err)
	}
	if all, err := s.Sessions(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("sessions %v, %v", all, err)
	}
	if _, err := s.UseAccountSession(t.Context(), []byte("h"), time.Hour); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a login to the account page, which may have ended since: %v", err)
	}
	for range 2 {
		all, err := s.Untold(t.Context())
		must(t, err)
		if len(all) == 0 {
			return
		}
		if len(all) != 1 || all[0].Operator != "root (uid 0)" || all[0].Outcome != restore.Replayed || !strings.HasPrefix(all[0].Detail, a.ID+" of 20") {
			t.Errorf("to be told: %+v", all)
		}
	}
	t.Error("it is told twice")
}

// Where there is no database, as on another machine.
func TestRestoreElsewhere(t *testing.T) {
	sc := newScene(t)
	sc.dir = t.TempDir()
	a, err := sc.do(t, restore.Order{Do: true})
	if err != nil || a.Former != "" {
		t.Fatalf("%+v, %v", a, err)
	}
	wantUsers(t, "restored", filepath.Join(sc.dir, database), "alice bob")
}

// Cut off after each step, the database is the former one or the new one, whole, and no
// former one is lost; also where a broker that was killed has left its log.
func TestSwapCutOff(t *testing.T) {
	for name, log := range map[string]bool{"closed": false, "killed": true} {
		for n := 0; ; n++ {
			sc := newScene(t)
			want := "alice bob carol"
			if log {
				want = sc.leaveLog(t)
			}
			work := filepath.Join(t.TempDir(), database)
			_, err := unpack(t.Context(), bytes.NewReader(sc.backup), work, teststore.Keys(t))
			must(t, err)
			former := filepath.Join(sc.dir, "former")
			steps, _ := swap(t.Context(), work, sc.path, former)
			for _, step := range steps[:min(n, len(steps))] {
				must(t, step())
			}
			what := name + ", cut off after step " + string(rune('0'+n))
			if n < len(steps) {
				wantUsers(t, what, sc.path, want)
				continue
			}
			wantUsers(t, what, sc.path, "alice bob")
			wantUsers(t, what, former, want)
			break
		}
	}
}

// leaveLog puts a database with a log that was not taken over in the place of the scene's,
// and returns who is in it.
func (sc *scene) leaveLog(t *testing.T) string {
	t.Helper()
	s := teststore.Open(t, sc.path, nil)
	teststore.LogIn(t, s, "dave", time.Now())
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(sc.path + suffix)
		must(t, err)
		if len(text) == 0 {
			t.Fatal("there is no log")
		}
		must(t, os.WriteFile(filepath.Join(dir, database+suffix), text, 0o600))
	}
	sc.dir, sc.path = dir, filepath.Join(dir, database)
	if bytes.Contains(read(t, sc.path), []byte("dave")) {
		t.Fatal("dave is in the database already, so that this shows nothing")
	}
	return "alice bob carol dave"
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}

// A damaged database stays as it is, with its log.
func TestRestoreOverDamaged(t *testing.T) {
	sc := newScene(t)
	sc.leaveLog(t)
	must(t, os.WriteFile(sc.path, []byte("no database"), 0o600))
	log := read(t, sc.path+"-wal")
	a, err := sc.do(t, restore.Order{Do: true})
	must(t, err)
	wantUsers(t, "restored", sc.path, "alice bob")
	if string(read(t, a.Former)) != "no database" || !bytes.Equal(read(t, a.Former+"-wal"), log) {
		t.Error("the former one is another")
	}
}

func TestRefused(t *testing.T) {
	sc := newScene(t)
	good := sc.backup
	refused := func(what, want string) {
		t.Helper()
		for _, do := range []bool{false, true} {
			if _, err := sc.do(t, restore.Order{Do: do}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", what, err, want)
			}
		}
		wantUsers(t, what, sc.path, "alice bob carol")
		if all, _ := filepath.Glob(filepath.Join(sc.dir, "*")); len(all) > 3 { // with the log of an open one
			t.Errorf("%s leaves %v", what, all)
		}
	}
	sc.backup = good[:len(good)-600]
	refused("cut off", "it is cut off")
	sc.backup = bytes.Replace(good, []byte(`"users": 2`), []byte(`"users": 3`), 1)
	refused("altered", "it was altered")
	sc.backup = good
	was := key
	key = bytes.Repeat([]byte("x"), seal.KeySize)
	refused("another key", "it was made with another store key")
	key = was

	if _, err := sc.do(t, restore.Order{Do: true, ID: "another"}); err == nil || !strings.Contains(err.Error(), "another backup than a moment ago") {
		t.Errorf("another file than was looked at: %v", err)
	}
	wantUsers(t, "another file than was looked at", sc.path, "alice bob carol")

	unlock, err := lock(sc.dir)
	must(t, err)
	refused("beside another", "another restore is under way")
	must(t, unlock())

	// One of a later version, made as that would.
	s := teststore.Open(t, filepath.Join(t.TempDir(), database), nil)
	db, err := sql.Open("sqlite", s.Path())
	must(t, err)
	_, err = db.Exec("INSERT INTO migrations (id) VALUES ('0999_later')")
	must(t, errors.Join(err, db.Close()))
	sc.backup = laterBackup(t, s.Path())
	refused("later", "0999_later is not known here: fjmcp-broker 9.9 or later")
}

// laterBackup is one of a version that knows more.
func laterBackup(t *testing.T, path string) []byte {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = db.Exec("VACUUM INTO ?", copied)
	must(t, errors.Join(err, db.Close()))
	f, err := os.Open(copied)
	must(t, err)
	defer f.Close()
	m := archive.Manifest{Version: "9.9"}
	must(t, m.Measure(f))
	r, _, err := m.Reader(f, teststore.Keys(t))
	must(t, err)
	all, err := io.ReadAll(r)
	must(t, err)
	return all
}

// A database that a broker has open is left alone.
func TestInUse(t *testing.T) {
	sc := newScene(t)
	if unused(sc.path) != nil {
		t.Error("one that nobody has open is in use")
	}
	inUse(t, sc.path, func() {
		if _, err := sc.do(t, restore.Order{Do: true}); err == nil || !strings.Contains(err.Error(), "is in use by process") {
			t.Errorf("%v", err)
		}
	})
	wantUsers(t, "in use", sc.path, "alice bob carol")
}

func TestRunReadsOrders(t *testing.T) {
	sc := newScene(t)
	var out bytes.Buffer
	order := `{"state_dir":"` + sc.dir + `","keys":["a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="]}`
	if err := Run(context.WithoutCancel(t.Context()), strings.NewReader(order), bytes.NewReader(sc.backup), &out); err != nil || !strings.Contains(out.String(), `"users":2`) {
		t.Errorf("%s, %v", out.String(), err)
	}
	if err := Run(t.Context(), strings.NewReader(""), nil, &out); err == nil {
		t.Error("nothing is an order")
	}
}
