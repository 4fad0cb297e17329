// Package snapshot copies a SQLite database while it is in use, and looks through one that
// is not: an operator must know that a backup is whole, and whose, before it is needed.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/store/schema"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
	"github.com/fjmcp/fjmcp-broker/internal/store/sqlite"
)

// Contents is what a database holds, for people who have several.
type Contents struct {
	Schema   string // the latest migration
	Users    int
	Clients  int
	Logins   int // redeemed and not revoked
	Sessions int
}

// NewerError says that a later version of fjmcp wrote a database.
type NewerError struct{ Migration string }

// Error names the first migration that is not known here.
func (e *NewerError) Error() string {
	return "a newer version of fjmcp wrote the database: " + e.Migration + " is not known here"
}

// Take copies the database at from, as it is at one moment, to a new file at path, which
// only this user can read, and returns what is in it. Others read and write meanwhile. What
// was deleted does not stand in the copy.
func Take(ctx context.Context, from, path string, keys *seal.Keyring) (Contents, error) {
	// SQLite fills a file that is empty, and gives no other its mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return Contents{}, fmt.Errorf("cannot copy the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return Contents{}, err
	}
	// A connection of its own: others shall not wait for the writing one, and the reading
	// ones cannot write, not even elsewhere.
	db, err := sqlite.Connect(from)
	if err != nil {
		return Contents{}, err
	}
	err = sqlite.RetryBusy(ctx, func() error { return db.WithContext(ctx).Exec("VACUUM INTO ?", path).Error })
	if err = errors.Join(err, sqlite.Close(db)); err != nil {
		return Contents{}, fmt.Errorf("cannot copy the database: %w", err)
	}
	return Inspect(ctx, path, keys)
}

// Inspect looks through a database that no process has open, and changes nothing: whether
// it is whole, of a version that is known here (else a *NewerError), and sealed with one of
// the keys (else sealed.ErrWrongKey).
func Inspect(ctx context.Context, path string, keys *seal.Keyring) (c Contents, err error) {
	db, err := sqlite.OpenStill(path)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, sqlite.Close(db)) }()
	db = db.WithContext(ctx)
	if err := whole(db); err != nil {
		return c, err
	}
	unknown, err := schema.Unknown(db)
	switch {
	case err != nil:
		return c, err
	case unknown != "":
		return c, &NewerError{unknown}
	}
	if err := db.Raw(`SELECT (SELECT MAX(id) FROM migrations) AS schema, (SELECT COUNT(*) FROM users) AS users,
		(SELECT COUNT(*) FROM clients WHERE deleted_at = 0) AS clients, (SELECT COUNT(*) FROM sessions) AS sessions,
		(SELECT COUNT(*) FROM grants WHERE redeemed_at > 0 AND revoked_at = 0) AS logins`).Scan(&c).Error; err != nil {
		return c, fmt.Errorf("cannot count what is in the database: %w", err)
	}
	switch fits, err := sealed.HasCanary(db, keys); {
	case err != nil:
		return c, err
	case !fits:
		return c, errors.New("the database does not say with which key it is sealed")
	}
	return c, nil
}

// whole has SQLite look at every page and every reference.
func whole(db *gorm.DB) error {
	var faults []string
	if err := db.Raw("PRAGMA integrity_check(3)").Scan(&faults).Error; err != nil {
		return fmt.Errorf("the database is damaged: %w", err)
	}
	if text := strings.Join(faults, "; "); text != "ok" {
		return errors.New("the database is damaged: " + text)
	}
	var orphans []string
	if err := db.Raw(`SELECT DISTINCT "table" FROM pragma_foreign_key_check`).Scan(&orphans).Error; err != nil {
		return fmt.Errorf("the database is damaged: %w", err)
	}
	if len(orphans) > 0 {
		return errors.New("the database is damaged: rows refer to others that are not there, in " + strings.Join(orphans, ", "))
	}
	return nil
}

// Settle moves what is in a database's log, which a process that was killed has left, into
// the database, so that the one file is all of it. No process may have it open.
func Settle(ctx context.Context, path string) error {
	db, err := sqlite.Connect(path)
	if err != nil {
		return err
	}
	err = db.WithContext(ctx).Exec("PRAGMA wal_checkpoint(TRUNCATE)").Error
	return errors.Join(err, sqlite.Close(db))
}
