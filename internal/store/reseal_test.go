package store_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
	"github.com/fjmcp/fjmcp-broker/internal/test/testpostgres"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// openWith opens the store with keys of these letters, the current one first.
func openWith(t *testing.T, path, letters string) *store.Store {
	t.Helper()
	return openAt(t, path, letters, nil)
}

func openAt(t *testing.T, path, letters string, now func() time.Time) *store.Store {
	t.Helper()
	s, err := tryOpen(t, path, letters, now)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func tryOpen(t *testing.T, path, letters string, now func() time.Time) (*store.Store, error) {
	t.Helper()
	keys := keysOf(letters)
	ring, err := seal.NewKeyring(keys[0], keys[1:]...)
	must(t, err)
	o := teststore.At(path)
	o.Keys, o.Now = ring, now
	return store.Open(t.Context(), o)
}

// rekeyed opens a store of key a with key b alone, after a change of the key.
func rekeyed(t *testing.T, path string, now func() time.Time) *store.Store {
	t.Helper()
	_, err := openAt(t, path, "ba", now).Reseal(t.Context())
	must(t, err)
	return openAt(t, path, "b", now)
}

func keysOf(letters string) (keys [][]byte) {
	for _, l := range strings.Split(letters, "") {
		keys = append(keys, bytes.Repeat([]byte(l), seal.KeySize))
	}
	return keys
}

// sealedWorld is one of everything that is sealed.
type sealedWorld struct {
	login  teststore.Login
	second store.Pair // the successor of the login's pair
	state  []byte     // of a login on its way with a token set
}

func fill(t *testing.T, s *store.Store, name string) sealedWorld {
	t.Helper()
	now := time.Now()
	w := sealedWorld{login: teststore.LogIn(t, s, name, now), state: model.Hash("state " + name)}
	var err error
	_, w.second, err = s.Rotate(t.Context(), w.login.Pair.Refresh, w.login.Client, teststore.Pair(now), store.Asked{})
	must(t, err)
	must(t, s.CreateLogin(t.Context(), store.Login{StateHash: w.state, BrowserHash: []byte("b"), ClientID: w.login.Client.ID, Verifier: "verifier-" + name, ExpiresAt: now.Add(time.Hour)}))
	must(t, s.KeepLoginSet(t.Context(), w.state, model.ForgejoTokens{AccessToken: "set-access-" + name, RefreshToken: "set-refresh-" + name}))
	return w
}

// readable reports whether s still has all of w.
func (w sealedWorld) readable(t *testing.T, s *store.Store) bool {
	t.Helper()
	ctx, name := t.Context(), w.login.User.Name
	set, err1 := s.ForgejoTokens(ctx, w.login.User.ID)
	login, err2 := s.Login(ctx, w.state)
	_, again, err3 := s.Rotate(ctx, w.login.Pair.Refresh, w.login.Client, teststore.Pair(time.Now()), store.Asked{})
	return err1 == nil && err2 == nil && err3 == nil && set.AccessToken == "forge-access-"+name && login.Verifier == "verifier-"+name &&
		login.Set.RefreshToken == "set-refresh-"+name && again.Refresh == w.second.Refresh
}

// mark is how a value starts that was sealed with the key of that letter.
func mark(t *testing.T, letter string) []byte {
	t.Helper()
	ring, err := seal.NewKeyring(keysOf(letter)[0])
	must(t, err)
	return ring.Seal(nil, nil)[:5]
}

// onDisk is all that a thief of the state directory gets, or of the server's disk.
func onDisk(t *testing.T, path string) (all []byte) {
	t.Helper()
	pattern := path + "*"
	if !teststore.IsFile(path) {
		testpostgres.Exec(t, path, "CHECKPOINT")
		pattern = filepath.Join(testpostgres.Directory(), "data/base", query(t, path, "SELECT oid FROM pg_database WHERE datname = current_database()")[0], "*")
	}
	files, err := filepath.Glob(pattern)
	must(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		all = append(all, b...)
	}
	return all
}

func TestResealMovesEverything(t *testing.T) { teststore.Both(t, testResealMovesEverything) }

func testResealMovesEverything(t *testing.T) {
	path := teststore.Path(t)
	before := openWith(t, path, "a")
	var worlds []sealedWorld
	for _, name := range []string{"alice", "bob", "carol"} {
		worlds = append(worlds, fill(t, before, name))
	}
	both := openWith(t, path, "ba")
	got, err := both.Reseal(t.Context())
	if want := (sealed.Resealed{Values: 12, Moved: 12}); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := both.Reseal(t.Context()); err != nil || got != (sealed.Resealed{Values: 12}) {
		t.Errorf("again: %+v, %v", got, err)
	}
	after := openWith(t, path, "b") // store-key-old is gone
	for _, w := range worlds {
		if !w.readable(t, after) {
			t.Errorf("%s lost something", w.login.User.Name)
		}
		if w.readable(t, before) {
			t.Error("the old key still reads")
		}
	}
	if bytes.Contains(onDisk(t, path), mark(t, "a")) {
		t.Error("the files still hold what the old key sealed")
	}
}

// A value that no key reads is counted and deleted, and stops nothing: its user logs in
// anew, and nothing has to be said of it again.
func TestResealDeletesWhatItCannotRead(t *testing.T) {
	teststore.Both(t, testResealDeletesWhatItCannotRead)
}

func testResealDeletesWhatItCannotRead(t *testing.T) {
	path := teststore.Path(t)
	kept := fill(t, openWith(t, path, "a"), "kept")
	lost := fill(t, openWith(t, path, "xa"), "lost")
	s := openWith(t, path, "ba")
	before, err := s.Generation(t.Context(), 0)
	must(t, err)
	got, err := s.Reseal(t.Context())
	if want := (sealed.Resealed{Values: 7, Moved: 4, Unreadable: 3}); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err) // a login's two values go together
	}
	if !kept.readable(t, openWith(t, path, "b")) {
		t.Error("what could be read was lost")
	}
	if sum, err := s.Summary(t.Context()); err != nil || sum.Unreadable != 0 || sum.Sealed != 4 {
		t.Errorf("afterwards: %+v, %v", sum, err)
	}
	_, err = s.ForgejoTokens(t.Context(), lost.login.User.ID)
	wantErr(t, err, model.ErrNotFound)
	if _, err := s.UnfinishedLogins(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Errorf("logins that were cut off: %v", err)
	}
	after, err := s.Generation(t.Context(), 0)
	if err != nil || after == before {
		t.Error("other processes go on with what they remember of the user")
	}
}

// What other processes write meanwhile, and an end in the middle, lose nothing.
func TestResealUnderUse(t *testing.T) { teststore.Both(t, testResealUnderUse) }

func testResealUnderUse(t *testing.T) {
	path := teststore.Path(t)
	first := openWith(t, path, "a")
	var worlds []sealedWorld
	for i := range 60 { // more than one batch
		worlds = append(worlds, fill(t, first, "user"+string(rune('A'+i/26))+string(rune('a'+i%26))))
	}
	both := openWith(t, path, "ba")
	other := openWith(t, path, "ba")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := both.Reseal(ctx); done <- err }()
	var g sync.WaitGroup
	g.Go(func() {
		for i, w := range worlds {
			if i == len(worlds)/2 {
				cancel()
			}
			if err := other.PutForgejoTokens(t.Context(), w.login.User.ID, model.ForgejoTokens{AccessToken: "forge-access-" + w.login.User.Name, RefreshToken: "new"}); err != nil {
				t.Error(err)
			}
			if _, err := other.ForgejoTokens(t.Context(), w.login.User.ID); err != nil {
				t.Error(err)
			}
		}
	})
	g.Wait()
	<-done // cut off, or done before
	for _, w := range worlds {
		if !w.readable(t, both) {
			t.Errorf("%s lost something in the middle", w.login.User.Name)
		}
	}
	if got, err := both.Reseal(t.Context()); err != nil || got.Unreadable != 0 || got.Values != 4*len(worlds) {
		t.Fatalf("%+v, %v", got, err)
	}
	after := openWith(t, path, "b")
	for _, w := range worlds {
		if set, err := after.ForgejoTokens(t.Context(), w.login.User.ID); err != nil || set.RefreshToken != "new" || !w.readable(t, after) {
			t.Errorf("%s: %v", w.login.User.Name, err)
		}
	}
}

// A database copied elsewhere tells no secret, with whatever key it is opened.
func TestACopiedDatabaseTellsNothing(t *testing.T) {
	teststore.Both(t, testACopiedDatabaseTellsNothing)
}

func testACopiedDatabaseTellsNothing(t *testing.T) {
	path := teststore.Path(t)
	s := openWith(t, path, "a")
	w := fill(t, s, "alice")
	files := onDisk(t, path)
	for _, secret := range []string{
		"forge-access-alice", "forge-refresh-alice", "verifier-alice", "set-access-alice", "set-refresh-alice",
		w.login.Pair.Access, w.login.Pair.Refresh, w.second.Access, w.second.Refresh, string(keysOf("a")[0]),
	} {
		if bytes.Contains(files, []byte(secret)) {
			t.Errorf("the files hold %q", secret)
		}
	}
	if !teststore.IsFile(path) {
		must(t, s.Close())
	}
	copied := teststore.Copy(t, path)
	_, err := tryOpen(t, copied, "z", nil)
	wantErr(t, err, sealed.ErrWrongKey)
	if !w.readable(t, openWith(t, copied, "a")) {
		t.Error("the copy is no good, so this test shows nothing")
	}
}
