package store_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// lineage is a login whose database was copied at the second of its refresh tokens, was
// refreshed until the fourth, and restored.
type lineage struct {
	*store.Store
	place  string
	clock  *clock
	login  teststore.Login
	tokens []string // by generation; there is no 0
}

const copied, newest = 2, 4

func restoredLineage(t *testing.T, last int) *lineage {
	t.Helper()
	return backedUp(t).restored(t, last)
}

// backedUp has no store yet, and its place is that of the backup.
func backedUp(t *testing.T) *lineage {
	t.Helper()
	path, c := teststore.Path(t), newClock()
	l := &lineage{clock: c, tokens: []string{""}}
	s := teststore.Open(t, path, c.Now)
	l.login = teststore.LogIn(t, s, "alice", c.Now())
	l.tokens = append(l.tokens, l.login.Pair.Refresh)
	for n := 2; n <= newest; n++ {
		c.Add(time.Minute)
		_, p, err := s.Rotate(t.Context(), l.tokens[n-1], l.login.Client, teststore.Pair(c.Now()), store.Asked{})
		must(t, err)
		if p.Generation != n {
			t.Fatalf("generation %d, want %d", p.Generation, n)
		}
		l.tokens = append(l.tokens, p.Refresh)
		if n == copied {
			must(t, s.Close())
			l.place = teststore.Copy(t, path)
			s = teststore.Open(t, path, c.Now)
		}
	}
	must(t, s.Close())
	c.Add(time.Hour)
	return l
}

// restored restores a copy of the backup; the journal says that the last token was of that
// generation, if not 0.
func (backup *lineage) restored(t *testing.T, last int) *lineage {
	t.Helper()
	c := &clock{t: backup.clock.Now()}
	l := &lineage{clock: c, place: teststore.Copy(t, backup.place), login: backup.login, tokens: backup.tokens}
	l.Store = teststore.Open(t, l.place, c.Now)
	must(t, l.Restored(t.Context(), store.Restore{Operator: "root (uid 0)"}))
	if last > 0 {
		must(t, l.Replaced(t.Context(), l.login.Grant.ID, last))
	}
	return l
}

func (l *lineage) refresh(t *testing.T, token string) (string, error) {
	t.Helper()
	g, p, err := l.Rotate(t.Context(), token, l.login.Client, teststore.Pair(l.clock.Now()), store.Asked{})
	if err == nil {
		_, err := l.Access(t.Context(), model.Hash(p.Access))
		must(t, err)
	}
	if err == nil && g.ID != l.login.Grant.ID {
		t.Errorf("it is of grant %s", g.ID)
	}
	return p.Refresh, err
}

// A client continues with the token that it got after the backup, in which there is
// nothing of it, and so does one that has not come since.
func TestRestoredLoginContinues(t *testing.T) { teststore.Both(t, testRestoredLoginContinues) }

func testRestoredLoginContinues(t *testing.T) {
	backup := backedUp(t)
	for n := copied; n <= newest; n++ {
		l := backup.restored(t, 0)
		next, err := l.refresh(t, l.tokens[n])
		if err != nil {
			t.Fatalf("with token %d: %v", n, err)
		}
		if again, err := l.refresh(t, l.tokens[n]); err != nil || again != next {
			t.Errorf("two processes of a client with token %d: %v", n, err)
		}
		l.clock.Add(time.Hour)
		if next, err = l.refresh(t, next); err != nil {
			t.Errorf("after token %d: %v", n, err)
		}
		l.clock.Add(time.Hour)
		if _, err = l.refresh(t, next); err != nil {
			t.Errorf("twice after token %d: %v", n, err)
		}
	}
}

// Whatever two tokens come, the thief's first or the client's, the second shows that there
// are two, and ends the login. What the journal says was replaced counts for nothing.
func TestRestoredLoginIsNotTwos(t *testing.T) { teststore.Both(t, testRestoredLoginIsNotTwos) }

func testRestoredLoginIsNotTwos(t *testing.T) {
	backup := backedUp(t)
	for _, last := range []int{0, newest} {
		for one := 1; one <= newest; one++ {
			for two := 1; two <= newest; two++ {
				// The answer with the second may have been lost when the copy was made, and
				// then the first brings it again.
				if one == two || last == 0 && one == copied-1 && two == copied {
					continue
				}
				l := backup.restored(t, last)
				_, err := l.refresh(t, l.tokens[one])
				if last > 0 && one < last-1 {
					wantErr(t, err, model.ErrReused)
					continue
				}
				if err != nil {
					t.Errorf("token %d, the journal says %d: %v", one, last, err)
					continue
				}
				l.clock.Add(2 * store.Grace)
				if _, err = l.refresh(t, l.tokens[two]); err == nil {
					t.Errorf("token %d after %d, the journal says %d: taken", two, one, last)
					continue
				}
				wantErr(t, err, model.ErrReused)
				_, err = l.refresh(t, l.tokens[one])
				wantErr(t, err, model.ErrRevoked)
			}
		}
	}
}

// After a second restore, of a backup from after the first, a token from before the first
// is no newer one, whatever its generation.
func TestRestoredTwice(t *testing.T) { teststore.Both(t, testRestoredTwice) }

func testRestoredTwice(t *testing.T) {
	l := restoredLineage(t, 0)
	if _, err := l.refresh(t, l.tokens[copied]); err != nil { // the line of tokens[copied+1] ends here
		t.Fatal(err)
	}
	must(t, l.Close())
	saved := teststore.Copy(t, l.place)
	l.Store = teststore.Open(t, saved, l.clock.Now)
	must(t, l.Restored(t.Context(), store.Restore{}))
	_, err := l.refresh(t, l.tokens[copied+1])
	wantErr(t, err, model.ErrReused)
}

// Only the token of a grant that was restored, to its client, in its time, unchanged.
func TestUnknownTokensAreNothing(t *testing.T) { teststore.Both(t, testUnknownTokensAreNothing) }

func testUnknownTokensAreNothing(t *testing.T) {
	l := restoredLineage(t, 0)
	token := l.tokens[newest]
	other := teststore.LogIn(t, l.Store, "bob", l.clock.Now())
	_, _, err := l.Rotate(t.Context(), token, other.Client, teststore.Pair(l.clock.Now()), store.Asked{})
	wantErr(t, err, model.ErrNotFound)
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, model.PrefixRefresh))
	must(t, err)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err = l.refresh(t, model.PrefixRefresh+base64.RawURLEncoding.EncodeToString(changed))
		wantErr(t, err, model.ErrNotFound)
	}
	for _, changed := range []string{strings.TrimPrefix(token, model.PrefixRefresh), token + "A", token[:len(token)-1], model.PrefixRefresh, model.PrefixAccess + token[4:]} {
		_, err = l.refresh(t, changed)
		wantErr(t, err, model.ErrNotFound)
	}
	// An access token is none, and what is sealed for another purpose is none.
	db, err := openSQL(l.place)
	must(t, err)
	defer db.Close()
	var canary []byte
	must(t, db.QueryRow("SELECT sealed FROM canary").Scan(&canary))
	_, err = l.refresh(t, model.PrefixRefresh+base64.RawURLEncoding.EncodeToString(canary))
	wantErr(t, err, model.ErrNotFound)
	l.clock.Add(24 * time.Hour)
	_, err = l.refresh(t, token)
	wantErr(t, err, model.ErrExpired)

	// Nor is one of a database that was not restored, but copied behind its back.
	never := restoredLineage(t, 0)
	query(t, never.place, "UPDATE grants SET restored = 0")
	_, err = never.refresh(t, never.tokens[newest])
	wantErr(t, err, model.ErrNotFound)
	_, err = never.refresh(t, never.tokens[copied])
	must(t, err)
}

// A client that gives back a token that the database does not know ends its login all the
// same (RFC 7009).
func TestRestoredLoginIsGivenBack(t *testing.T) { teststore.Both(t, testRestoredLoginIsGivenBack) }

func testRestoredLoginIsGivenBack(t *testing.T) {
	l := restoredLineage(t, 0)
	g, kind, err := l.RevokeToken(t.Context(), l.tokens[newest], l.login.Client.ID)
	if err != nil || kind != store.KindRefresh || g.ID != l.login.Grant.ID {
		t.Fatalf("%s %s %v", g.ID, kind, err)
	}
	_, err = l.refresh(t, l.tokens[newest])
	wantErr(t, err, model.ErrRevoked)
	_, _, err = l.RevokeToken(t.Context(), restoredLineage(t, 0).tokens[newest], l.login.Client.ID)
	wantErr(t, err, model.ErrNotFound)
}

// No token tells anything, and the database none.
func TestRefreshTokensTellNothing(t *testing.T) { teststore.Both(t, testRefreshTokensTellNothing) }

func testRefreshTokensTellNothing(t *testing.T) {
	path, c := teststore.Path(t), newClock()
	s := teststore.Open(t, path, c.Now)
	l := teststore.LogIn(t, s, "alice", c.Now())
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(l.Pair.Refresh, model.PrefixRefresh))
	must(t, err)
	for _, text := range []string{l.Grant.ID, l.Client.ID, l.User.ID, "alice"} {
		if bytes.Contains(sealed, []byte(text)) || strings.Contains(l.Pair.Refresh, text) {
			t.Errorf("%q stands in it", text)
		}
	}
	if text := onDisk(t, path); bytes.Contains(text, []byte(l.Pair.Refresh)) || bytes.Contains(text, sealed) || !bytes.Contains(text, []byte(l.Grant.ID)) {
		t.Error("it is on disk, or not even its grant")
	}
}
