// Package database runs the store's statements: each write in a transaction, which is tried
// again when others' locks made it fail; reads beside them; all timed.
//
// Whatever decides between two callers, as which of two refreshes with one token comes
// first, is decided in Update and nowhere else. A transaction that reads a row and then
// acts on it reads it by Locked, or another may act on it as well.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/postgres"
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
	engine
	write *gorm.DB
	read  *gorm.DB
	timed func(Operation, time.Duration) // may be nil
	gen   generation
}

// engine is what SQLite and PostgreSQL do each in its own way.
type engine interface {
	// Path is where the database is: a file, absolute, or host and name.
	Path() string
	// Size is how much room the database takes, with its log if that is its own, in bytes.
	Size(ctx context.Context) (int64, error)
	// Now is the moment by the clock that all who share the database look at, in ms since
	// 1970, as a part of a statement. clock is the caller's, which counts for SQLite.
	Now(clock time.Time) clause.Expr

	close() error
	isolation() []*sql.TxOptions
	retry(ctx context.Context, fn func() error) error
	rewrite() []string // statements that leave nothing of what was overwritten
}

// Open opens the SQLite database at path, which is absolute, and makes it when absent; or,
// where there is a connection string dsn, that database of PostgreSQL. It brings the tables
// up to date. timed is told how long each read took, up to its first row, and each write,
// with the commit and what it waited for; it may be nil.
func Open(ctx context.Context, path, dsn string, timed func(Operation, time.Duration)) (*DB, error) {
	open := func(ctx context.Context) (*DB, error) { return openFile(ctx, path) }
	if dsn != "" {
		open = func(ctx context.Context) (*DB, error) { return openServer(ctx, dsn) }
	}
	d, err := open(ctx)
	if err != nil {
		return nil, err
	}
	d.timed = timed
	if err := errors.Join(d.timeReads(), d.gen.prepare(ctx, d.read)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close ends all connections.
func (d *DB) Close() error { return errors.Join(d.gen.close(), d.engine.close()) }

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
		}, d.isolation()...)
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
	return d.retry(ctx, func() error { return fn(d.write.WithContext(ctx)) })
}

// Rewrite copies what is in use to new files, since the old ones hold what was
// overwritten, and empties the log, if it is the database's own. Writers wait meanwhile.
func (d *DB) Rewrite(ctx context.Context) error {
	for _, sql := range d.rewrite() {
		if err := d.writing(ctx, func(db *gorm.DB) error { return db.Exec(sql).Error }); err != nil {
			return fmt.Errorf("cannot write the database anew: %w", err)
		}
	}
	return nil
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

// Serial has one transaction at a time go on from here, for what no row decides yet.
func Serial(tx *gorm.DB) error {
	var one int64
	return Locked(tx).Table("generation").Select("id").Take(&one).Error
}

// Lower folds ASCII, as lower does in a statement.
func Lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Error turns gorm's words into the broker's: model.ErrNotFound and model.ErrBlocked.
func Error(err error) error {
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return model.ErrNotFound
	case sqlite.Raised(err, schema.UserBlocked), postgres.Raised(err, schema.UserBlocked):
		return model.ErrBlocked
	}
	return err
}
