package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Resealed counts sealed values.
type Resealed struct {
	Values     int // that Reseal looked at
	Moved      int // of them, sealed anew
	Unreadable int // of them, with no key to read them, or damaged; deleted
}

// sealedColumn is a place for sealed values.
type sealedColumn struct {
	table, column string
	identity      string // column that the associated data names
	ad            func(identity []byte) []byte
	// forget makes a row do without its value.
	forget string
}

var sealedColumns = []sealedColumn{
	{"forgejo_tokens", "sealed", "user_id", func(id []byte) []byte { return forgejoAD(string(id)) }, "DELETE FROM forgejo_tokens"},
	{"logins", "verifier_sealed", "state_hash", loginAD, "DELETE FROM logins"},
	{"logins", "set_sealed", "state_hash", loginSetAD, "DELETE FROM logins"},
	{"refresh_tokens", "successor_sealed", "hash", successorAD, "UPDATE refresh_tokens SET successor_sealed = NULL"},
	{"session_states", "sealed", "session_id", func(id []byte) []byte { return sessionStateAD(string(id)) }, "DELETE FROM session_states"},
}

// resealBatch is how many values one transaction moves; others wait for it.
const resealBatch = 50

// Reseal seals with the current key whatever an older key of the keyring sealed, and
// deletes what no key of it opens, in short transactions between those of others. Cut
// off, it has done part of its work, and the rest can be done again. At the end the
// database is written anew, so that what the old key sealed stands nowhere in the file.
//
// Another process that seals with an older key undoes part of it: give all of
// them the new key first.
func (s *Store) Reseal(ctx context.Context) (Resealed, error) {
	var sum Resealed
	for _, c := range sealedColumns {
		if err := s.resealColumn(ctx, c, &sum); err != nil {
			return sum, fmt.Errorf("cannot reseal %s: %w", c.table, err)
		}
	}
	if err := s.writing(ctx, s.sealCanary); err != nil {
		return sum, err
	}
	return sum, s.rewrite(ctx)
}

func (s *Store) resealColumn(ctx context.Context, c sealedColumn, sum *Resealed) error {
	for last, more := int64(0), true; more; {
		var batch Resealed
		var next int64
		err := s.update(ctx, func(tx *gorm.DB) (err error) {
			batch, next, err = s.resealSome(tx, c, last)
			return err
		})
		if err != nil {
			return err
		}
		sum.Values += batch.Values
		sum.Moved += batch.Moved
		sum.Unreadable += batch.Unreadable
		last, more = next, batch.Values == resealBatch
	}
	return nil
}

// resealSome looks at the rows after last and returns where it has come to.
func (s *Store) resealSome(tx *gorm.DB, c sealedColumn, last int64) (n Resealed, next int64, err error) {
	var rows []struct {
		Row      int64
		Identity []byte
		Sealed   []byte
	}
	err = tx.Raw(fmt.Sprintf("SELECT rowid AS row, CAST(%s AS BLOB) AS identity, %s AS sealed FROM %s WHERE rowid > ? AND %s IS NOT NULL ORDER BY rowid LIMIT ?",
		c.identity, c.column, c.table, c.column), last, resealBatch).Scan(&rows).Error
	if err != nil {
		return n, last, err
	}
	n.Values = len(rows)
	for _, r := range rows {
		last = r.Row
		if s.keys.Current(r.Sealed) {
			continue
		}
		plain, err := s.keys.Open(r.Sealed, c.ad(r.Identity))
		if errors.Is(err, seal.ErrUnknownKey) || errors.Is(err, seal.ErrCorrupt) {
			n.Unreadable++
			if err := tx.Exec(c.forget+" WHERE rowid = ?", r.Row).Error; err != nil {
				return n, last, err
			}
			continue
		}
		if err != nil {
			return n, last, err
		}
		n.Moved++
		if err := tx.Exec(fmt.Sprintf("UPDATE %s SET %s = ? WHERE rowid = ?", c.table, c.column), s.keys.Seal(plain, c.ad(r.Identity)), r.Row).Error; err != nil {
			return n, last, err
		}
	}
	return n, last, nil
}

// rewrite copies what is in use to a new file and empties the log, since both
// hold what was overwritten. Readers continue meanwhile, writers wait.
func (s *Store) rewrite(ctx context.Context) error {
	for _, sql := range []string{"VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if err := s.exec(ctx, sql).Error; err != nil {
			return fmt.Errorf("cannot write the database anew: %w", err)
		}
	}
	return nil
}

// Summary is what an operator wants to know of a database.
type Summary struct {
	Path   string
	Schema string // the latest migration
	Counts

	Sealed     int // values
	Older      int // of them, under an older key that the keyring has
	Unreadable int // of them, under a key that it lacks
}

// Counts is how much there is of everything.
type Counts struct {
	Bytes int64 `gorm:"-"` // of the file and its log

	Users, Clients int
	Grants         int // logins that can still be used
	Dormant        int // sessions without a unit
}

// Count counts.
func (s *Store) Count(ctx context.Context) (n Counts, err error) {
	counts := s.reader(ctx).Raw(`SELECT
		(SELECT COUNT(*) FROM users) AS users,
		(SELECT COUNT(*) FROM clients WHERE deleted_at = 0) AS clients,
		(SELECT COUNT(*) FROM grants g WHERE g.redeemed_at > 0 AND `+standing+`) AS grants,
		(SELECT COUNT(*) FROM sessions WHERE unit_id = '') AS dormant`, sql.Named("now", ms(s.now())))
	if err = counts.Scan(&n).Error; err != nil {
		return n, fmt.Errorf("cannot count what is in the database: %w", err)
	}
	n.Bytes, err = size(s.path, s.path+"-wal")
	return n, err
}

// Summary counts, too. It reads all of the tables that hold sealed values, but of each
// value its first bytes only.
func (s *Store) Summary(ctx context.Context) (Summary, error) {
	sum := Summary{Path: s.path}
	err := s.reader(ctx).Raw("SELECT MAX(id) FROM migrations").Scan(&sum.Schema).Error
	if err != nil {
		return sum, fmt.Errorf("cannot look at the database: %w", err)
	}
	if sum.Counts, err = s.Count(ctx); err != nil {
		return sum, err
	}
	for _, c := range sealedColumns {
		if err = s.countSealed(ctx, c, &sum); err != nil {
			return sum, fmt.Errorf("cannot count what is sealed: %w", err)
		}
	}
	return sum, nil
}

func (s *Store) countSealed(ctx context.Context, c sealedColumn, sum *Summary) error {
	var heads []struct {
		Head []byte
		N    int
	}
	err := s.reader(ctx).Raw(fmt.Sprintf("SELECT substr(%[1]s, 1, ?) AS head, COUNT(*) AS n FROM %[2]s WHERE %[1]s IS NOT NULL GROUP BY head",
		c.column, c.table), seal.HeadSize).Scan(&heads).Error
	for _, h := range heads {
		sum.Sealed += h.N
		switch {
		case s.keys.Current(h.Head):
		case s.keys.Has(h.Head):
			sum.Older += h.N
		default:
			sum.Unreadable += h.N
		}
	}
	return err
}

// size adds up files; those that do not exist count nothing.
func size(paths ...string) (sum int64, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return sum, fmt.Errorf("cannot look at the database: %w", err)
		}
		sum += info.Size()
	}
	return sum, nil
}
