package store

import (
	"context"
	"time"
)

// AcquireLease makes holder the only holder of name for ttl, over all processes
// that share the database, and reports whether it did. A holder may renew its
// own lease; one that has run out is free. The clock is the database's, if it has one.
func (s *Store) AcquireLease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	now := s.db.Now(s.now())
	res := s.db.Exec(ctx, `INSERT INTO leases (name, holder, expires_at) VALUES (?, ?, ? + ?)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
		WHERE leases.holder = excluded.holder OR leases.expires_at <= ?`,
		name, holder, now, ttl.Milliseconds(), now)
	return res.RowsAffected == 1, res.Error
}

// ReleaseLease gives name back. A lease that another holds by now is left alone.
func (s *Store) ReleaseLease(ctx context.Context, name, holder string) error {
	return s.db.Exec(ctx, "DELETE FROM leases WHERE name = ? AND holder = ?", name, holder).Error
}
