package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// Summary is what an operator wants to know of a database.
type Summary struct {
	Path   string
	Bytes  int64  // of the file and its log
	Schema string // the latest migration

	Users, Clients int
	Grants         int // logins that can still be used

	Sealed     int // values
	Older      int // of them, under an older key that the keyring has
	Unreadable int // of them, under a key that it lacks
}

// Summary counts. It reads all of the tables that hold sealed values, but of each
// value its first bytes only.
func (s *Store) Summary(ctx context.Context) (sum Summary, err error) {
	defer func() { sum.Path = s.path }() // Scan empties all of it
	counts := s.reader(ctx).Raw(`SELECT
		(SELECT COUNT(*) FROM users) AS users,
		(SELECT COUNT(*) FROM clients WHERE deleted_at = 0) AS clients,
		(SELECT COUNT(*) FROM grants g WHERE g.redeemed_at > 0 AND `+standing+`) AS grants,
		(SELECT MAX(id) FROM migrations) AS schema`, s.nowThrice()...)
	if err = counts.Scan(&sum).Error; err != nil {
		return sum, fmt.Errorf("cannot count what is in the database: %w", err)
	}
	for _, c := range sealedColumns {
		if err = s.countSealed(ctx, c, &sum); err != nil {
			return sum, fmt.Errorf("cannot count what is sealed: %w", err)
		}
	}
	sum.Bytes, err = size(s.path, s.path+"-wal")
	return sum, err
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
