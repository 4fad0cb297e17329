package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
)

// Summary is what an operator wants to know of a database.
type Summary struct {
	Path   string // see Store.Path
	Schema string // the latest migration
	Counts
	sealed.Sum
}

// Counts is how much there is of everything.
type Counts struct {
	Bytes int64 `gorm:"-"` // of the file and its log, or of the database

	Users, Clients int
	Grants         int // logins that can still be used
	Dormant        int // sessions without a unit
}

// Count counts.
func (s *Store) Count(ctx context.Context) (n Counts, err error) {
	counts := s.db.Reader(ctx).Raw(`SELECT
		(SELECT COUNT(*) FROM users) AS users,
		(SELECT COUNT(*) FROM clients WHERE deleted_at = 0) AS clients,
		(SELECT COUNT(*) FROM grants g WHERE g.redeemed_at > 0 AND `+standing+`) AS grants,
		(SELECT COUNT(*) FROM sessions WHERE unit_id = '') AS dormant`, sql.Named("now", ms(s.now())))
	if err = counts.Scan(&n).Error; err != nil {
		return n, fmt.Errorf("cannot count what is in the database: %w", err)
	}
	n.Bytes, err = s.db.Size(ctx)
	return n, err
}

// Summary counts, too. It reads all of the tables that hold sealed values, but of each
// value its first bytes only.
func (s *Store) Summary(ctx context.Context) (Summary, error) {
	sum := Summary{Path: s.Path()}
	err := s.db.Reader(ctx).Raw("SELECT MAX(id) FROM migrations").Scan(&sum.Schema).Error
	if err != nil {
		return sum, fmt.Errorf("cannot look at the database: %w", err)
	}
	if sum.Counts, err = s.Count(ctx); err != nil {
		return sum, err
	}
	sum.Sum, err = sealed.Count(s.db.Reader(ctx), s.keys)
	return sum, err
}
