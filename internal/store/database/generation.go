package database

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
// something that store.Access has returned may be right no longer: a grant revoked, a
// token or a Forgejo token set gone, a name changed. It lets every process keep
// what Access returned for as long as the generation stands.

// GenerationQuery reads the generation as a transaction sees it.
const GenerationQuery = "SELECT n FROM generation"

// generation is what this process knows of it.
type generation struct {
	stmt  *sql.Stmt // past gorm, which takes three times as long
	known atomic.Int64
	read  atomic.Int64 // when, on the monotonic clock: nanoseconds after start
	mu    sync.Mutex   // one reader at a time
}

// start is the origin of generation.read. A wall clock does not serve: one that is set
// back must not make an old answer look new.
var start = time.Now()

func (g *generation) prepare(ctx context.Context, db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	if g.stmt, err = pool.PrepareContext(ctx, GenerationQuery); err != nil {
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
func (d *DB) Generation(ctx context.Context, maxAge time.Duration) (int64, error) {
	g := &d.gen
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
