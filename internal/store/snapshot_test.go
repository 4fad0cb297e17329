package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
	"github.com/fjmcp/fjmcp-broker/internal/store/snapshot"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func ringOf(t *testing.T, letters string) *seal.Keyring {
	t.Helper()
	keys := keysOf(letters)
	ring, err := seal.NewKeyring(keys[0], keys[1:]...)
	must(t, err)
	return ring
}

// A snapshot is whole and of one moment while others write: a login is in it with all
// that belongs to it, or not at all.
// Of SQLite's file.
func TestSnapshotWhileOthersWrite(t *testing.T) {
	path := teststore.Path(t)
	s := openAt(t, path, "k", nil)
	first := teststore.LogIn(t, s, "alice", time.Now())
	stop, begun := make(chan struct{}), make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() {
		for n := 0; ; n++ {
			teststore.LogIn(t, s, "bob", time.Now())
			if n == 0 {
				close(begun)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	<-begun
	for range 5 {
		copied := filepath.Join(t.TempDir(), "copy.db")
		c, err := snapshot.Take(t.Context(), s.Path(), copied, teststore.Keys(t))
		must(t, err)
		families := query(t, copied, "SELECT DISTINCT grant_id FROM refresh_tokens")
		if c.Users != 2 || c.Logins < 1 || len(families) != c.Logins || c.Schema == "" {
			t.Errorf("the copy has %+v, and tokens of %d logins", c, len(families))
		}
		if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		again, err := snapshot.Inspect(t.Context(), copied, ringOf(t, "k"))
		if err != nil || again != c {
			t.Errorf("looked at again it has %+v, %v", again, err)
		}
		other := openAt(t, copied, "k", nil)
		if _, err := other.ForgejoTokens(t.Context(), first.User.ID); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	writers.Wait()
}

// Of SQLite's file.
func TestSnapshotTakesNoFileThatIsThere(t *testing.T) {
	s, _ := open(t)
	path := filepath.Join(t.TempDir(), "there")
	must(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err := snapshot.Take(t.Context(), s.Path(), path, teststore.Keys(t))
	if text, _ := os.ReadFile(path); !errors.Is(err, os.ErrExist) || string(text) != "precious" {
		t.Errorf("%v, and the file is %q", err, text)
	}
}

// Of SQLite's file.
func TestInspectRefuses(t *testing.T) {
	path := teststore.Path(t)
	furnish(t, path)
	good := filepath.Join(t.TempDir(), "good.db")
	_, err := snapshot.Take(t.Context(), openAt(t, path, "k", nil).Path(), good, ringOf(t, "k"))
	must(t, err)
	change := func(name string, sql ...string) string {
		copied := filepath.Join(t.TempDir(), name)
		text, err := os.ReadFile(good)
		must(t, err)
		must(t, os.WriteFile(copied, text, 0o600))
		for _, q := range sql {
			query(t, copied, q)
		}
		return copied
	}
	_, err = snapshot.Inspect(t.Context(), good, ringOf(t, "x"))
	wantErr(t, err, sealed.ErrWrongKey)
	var newer *snapshot.NewerError
	if _, err = snapshot.Inspect(t.Context(), change("newer", "INSERT INTO migrations (id) VALUES ('0999_later')"), ringOf(t, "k")); !errors.As(err, &newer) || newer.Migration != "0999_later" {
		t.Errorf("of a newer version: %v", err)
	}
	for name, tc := range map[string]struct{ sql, want string }{
		"an orphan":     {"UPDATE sessions SET user_id = 'nobody'", "refer to others that are not there, in sessions"},
		"no canary":     {"DELETE FROM canary", "does not say with which key"},
		"another table": {"DROP TABLE migrations", "no database of fjmcp"},
	} {
		if _, err := snapshot.Inspect(t.Context(), change("x.db", tc.sql), ringOf(t, "k")); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	damaged := change("damaged.db")
	text, err := os.ReadFile(damaged)
	must(t, err)
	for i := len(text) / 2; i < len(text)/2+8192 && i < len(text); i++ {
		text[i] = 0xff
	}
	must(t, os.WriteFile(damaged, text, 0o600))
	if _, err := snapshot.Inspect(t.Context(), damaged, ringOf(t, "k")); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged one: %v", err)
	}
	if left, _ := filepath.Glob(good + "*"); len(left) != 1 {
		t.Errorf("beside the file there are now %v", left)
	}
}
