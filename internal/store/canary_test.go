package store_test

import (
	"errors"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// sqlAt changes the database past the store.
func sqlAt(t *testing.T, path, statement string) {
	t.Helper()
	db, err := openSQL(path)
	must(t, err)
	_, err = db.ExecContext(t.Context(), statement)
	must(t, errors.Join(err, db.Close()))
}

// A key that is not the database's is refused before anything is sealed with it.
func TestWrongKeyIsRefused(t *testing.T) { teststore.Both(t, testWrongKeyIsRefused) }

func testWrongKeyIsRefused(t *testing.T) {
	path := teststore.Path(t)
	w := fill(t, openWith(t, path, "a"), "alice")
	for range 2 {
		_, err := tryOpen(t, path, "x", nil)
		wantErr(t, err, sealed.ErrWrongKey)
	}
	s := openWith(t, path, "a")
	if sum, err := s.Summary(t.Context()); err != nil || sum.Unreadable != 0 || !w.readable(t, s) {
		t.Errorf("with the right key again: %+v, %v", sum, err)
	}
}

// While the key is changed either key may be missing only as long as the other opens
// everything: store-key-old cannot go before everything is moved.
func TestOldKeyCannotGoEarly(t *testing.T) { teststore.Both(t, testOldKeyCannotGoEarly) }

func testOldKeyCannotGoEarly(t *testing.T) {
	path := teststore.Path(t)
	w := fill(t, openWith(t, path, "a"), "alice")
	both := openWith(t, path, "ba")
	_, err := tryOpen(t, path, "b", nil)
	wantErr(t, err, sealed.ErrWrongKey)
	_, err = both.Reseal(t.Context())
	must(t, err)
	if !w.readable(t, openWith(t, path, "b")) {
		t.Error("something was lost")
	}
	_, err = tryOpen(t, path, "a", nil)
	wantErr(t, err, sealed.ErrWrongKey)
}

// An empty database takes any key, and keeps to it.
func TestFirstKeyStays(t *testing.T) { teststore.Both(t, testFirstKeyStays) }

func testFirstKeyStays(t *testing.T) {
	path := teststore.Path(t)
	openWith(t, path, "a")
	_, err := tryOpen(t, path, "b", nil)
	wantErr(t, err, sealed.ErrWrongKey)
}

// Databases from before the canary get one with the first key that opens anything in them,
// and so does one whose canary is damaged.
func TestFirstCanary(t *testing.T) { teststore.Both(t, testFirstCanary) }

func testFirstCanary(t *testing.T) {
	for name, statement := range map[string]string{
		"none":    "DELETE FROM canary",
		"damaged": "UPDATE canary SET sealed = substr(sealed, 1, 32)",
	} {
		t.Run(name, func(t *testing.T) {
			path := teststore.Path(t)
			w := fill(t, openWith(t, path, "a"), "alice")
			sqlAt(t, path, statement)
			_, err := tryOpen(t, path, "b", nil)
			wantErr(t, err, sealed.ErrWrongKey)
			openWith(t, path, "ba") // an older key is needed: none yet
			_, err = tryOpen(t, path, "b", nil)
			wantErr(t, err, sealed.ErrWrongKey)
			if !w.readable(t, openWith(t, path, "a")) {
				t.Error("something was lost")
			}
			sqlAt(t, path, "DELETE FROM forgejo_tokens; DELETE FROM logins; UPDATE refresh_tokens SET successor_sealed = NULL")
			_, err = tryOpen(t, path, "b", nil)
			wantErr(t, err, sealed.ErrWrongKey) // there is one now
		})
	}
}
