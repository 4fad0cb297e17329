// Package database runs the store's statements: each write in a transaction, which is tried
// again when others' locks made it fail; reads beside them; all timed.
//
// Whatever decides between two callers, as which of two refreshes with one token comes
// first, is decided in Update and nowhere else. A transaction that reads a row and then
// acts on it reads it by Locked, or another may act on it as well.
package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/schema"
	"github.com/fjmcp/fjmcp-broker/internal/store/sqlite"
)

// Operation is a kind of use of the database.
type Operation string

// Operations.
const (
	Read  Operation = "read"
	Write Operation = "write"
)

// DB is a database that is up to date. It is safe for concurrent use, and several
// processes may use the same.
type DB struct {
	path  string
	write *gorm.DB
	read  *gorm.DB
	close func() error
	timed func(Operation, time.Duration) // may be nil
	gen   generation
}

// Open opens the SQLite database at path, which is absolute, makes it when absent, and
// brings its tables up to date. timed is told how long each read took, up to its first row,
// and each write, with the commit and what it waited for; it may be nil.
func Open(ctx context.Context, path string, timed func(Operation, time.Duration)) (*DB, error) {
	file, err := sqlite.Open(ctx, path, schema.Migrate)
	if err != nil {
		return nil, err
	}
	d := &DB{path: path, write: file.Write, read: file.Read, close: file.Close, timed: timed}
	if err := errors.Join(d.timeReads(), d.gen.prepare(ctx, d.read)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Path is where the database is, absolute.
func (d *DB) Path() string { return d.path }

// Close ends all connections.
func (d *DB) Close() error { return errors.Join(d.gen.close(), d.close()) }

// Reader is for statements that only read, outside a transaction.
func (d *DB) Reader(ctx context.Context) *gorm.DB { return d.read.WithContext(ctx) }

// Update runs fn in one transaction and rolls back when fn fails. What others' locks make
// fail is tried again, so fn must bear to run twice. Errors are those that Error knows.
func (d *DB) Update(ctx context.Context, fn func(tx *gorm.DB) error) error {
	var gen int64
	err := d.writing(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) (err error) {
			if err = fn(tx); err != nil {
				return err
			}
			return tx.Raw(GenerationQuery).Row().Scan(&gen)
		})
	})
	if err == nil {
		d.gen.note(gen)
	}
	return Error(err)
}

// Exec is Update with one statement, and returns what has become of it.
func (d *DB) Exec(ctx context.Context, sql string, args ...any) (res *gorm.DB) {
	res = &gorm.DB{}
	err := d.Update(ctx, func(tx *gorm.DB) error {
		res = tx.Exec(sql, args...)
		return res.Error
	})
	return &gorm.DB{Error: err, RowsAffected: res.RowsAffected}
}

// writing runs fn on the writing connection. What other processes' locks make fail is
// tried again.
func (d *DB) writing(ctx context.Context, fn func(db *gorm.DB) error) error {
	if d.timed != nil {
		defer func(began time.Time) { d.timed(Write, time.Since(began)) }(time.Now())
	}
	return sqlite.RetryBusy(ctx, func() error { return fn(d.write.WithContext(ctx)) })
}

// Rewrite copies what is in use to a new file and empties the log, since both hold what
// was overwritten. Readers continue meanwhile, writers wait.
func (d *DB) Rewrite(ctx context.Context) error {
	for _, sql := range []string{"VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if err := d.writing(ctx, func(db *gorm.DB) error { return db.Exec(sql).Error }); err != nil {
			return fmt.Errorf("cannot write the database anew: %w", err)
		}
	}
	return nil
}

// Size is how much room the database takes, with its log, in bytes.
func (d *DB) Size() (sum int64, err error) {
	for _, path := range []string{d.path, d.path + "-wal"} {
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

// timeReads puts a clock around what gorm does for each statement of the readers.
func (d *DB) timeReads() error {
	if d.timed == nil {
		return nil
	}
	timed := func(do func(*gorm.DB)) func(*gorm.DB) {
		return func(db *gorm.DB) {
			began := time.Now()
			do(db)
			d.timed(Read, time.Since(began))
		}
	}
	all := d.read.Callback()
	return errors.Join(
		all.Query().Replace("gorm:query", timed(all.Query().Get("gorm:query"))),
		all.Row().Replace("gorm:row", timed(all.Row().Get("gorm:row"))))
}

// Locked has the queries that are begun from it, in a transaction, lock the rows that they
// return until its end: who asks for them the same way waits, and sees what became of them.
// Where transactions that write come one after the other it changes nothing.
func Locked(tx *gorm.DB) *gorm.DB {
	return tx.Clauses(clause.Locking{Strength: "NO KEY UPDATE"}).Session(&gorm.Session{})
}

// Error turns gorm's words into the broker's: model.ErrNotFound and model.ErrBlocked.
func Error(err error) error {
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return model.ErrNotFound
	case sqlite.Raised(err, schema.UserBlocked):
		return model.ErrBlocked
	}
	return err
}
