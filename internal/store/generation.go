package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// The generation is a number in the database that triggers raise whenever
// something that Access has returned may be right no longer: a grant revoked, a
// token or a Forgejo token set gone, a name changed. It lets every process keep
// what Access returned for as long as the generation stands.

const generationQuery = "SELECT n FROM generation"

// generation is what this process knows of it.
type generation struct {
	stmt  *sql.Stmt // past gorm, which takes three times as long
	known atomic.Int64
	read  atomic.Int64 // when, on the monotonic clock: nanoseconds after start
	mu    sync.Mutex   // one reader at a time
}

// start is the origin of generation.read. Options.Now does not serve: a clock
// that is set back must not make an old answer look new.
var start = time.Now()

func (g *generation) prepare(ctx context.Context, db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	if g.stmt, err = pool.PrepareContext(ctx, generationQuery); err != nil {
		return fmt.Errorf("cannot read the database: %w", err)
	}
	return nil
}

func (g *generation) close() error {
	if g.stmt == nil {
		return nil
	}
	return g.stmt.Close()
}

// note takes over a value that was read from the database. Reads may overtake
// each other; the number only rises.
func (g *generation) note(n int64) {
	for {
		known := g.known.Load()
		if n <= known || g.known.CompareAndSwap(known, n) {
			return
		}
	}
}

// age is the time since the last read.
func (g *generation) age() time.Duration {
	return time.Since(start) - time.Duration(g.read.Load())
}

// Generation returns the number that stands for the state of all that Access
// returns: while it is the same, so is every answer of Access, but for expiry.
// Writes of this process show in it at once, those of others within maxAge.
func (s *Store) Generation(ctx context.Context, maxAge time.Duration) (int64, error) {
	g := s.gen
	if g.read.Load() != 0 && g.age() < maxAge {
		return g.known.Load(), nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.read.Load() != 0 && g.age() < maxAge { // another caller was faster
		return g.known.Load(), nil
	}
	var n int64
	at := time.Since(start)
	if err := g.stmt.QueryRowContext(ctx).Scan(&n); err != nil {
		return 0, fmt.Errorf("cannot read the database: %w", err)
	}
	g.note(n)
	g.read.Store(int64(at))
	return g.known.Load(), nil
}

// AcquireLease makes holder the only holder of name for ttl, over all processes
// that share the database, and reports whether it did. A holder may renew its
// own lease; one that has run out is free.
func (s *Store) AcquireLease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	now := s.now()
	res := s.exec(ctx, `INSERT INTO leases (name, holder, expires_at) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
		WHERE leases.holder = excluded.holder OR leases.expires_at <= ?`,
		name, holder, ms(now.Add(ttl)), ms(now))
	return res.RowsAffected == 1, res.Error
}

// ReleaseLease gives name back. A lease that another holds by now is left alone.
func (s *Store) ReleaseLease(ctx context.Context, name, holder string) error {
	return s.exec(ctx, "DELETE FROM leases WHERE name = ? AND holder = ?", name, holder).Error
}
