// Package sqlite opens a database file that several processes share: whose it must
// be, one writing connection for each process and a pool of reading ones, and what to
// do while another process holds a lock. It knows nothing of the tables.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// DB is one process's connections to a database.
type DB struct {
	Write *gorm.DB // one connection; its transactions begin with BEGIN IMMEDIATE
	Read  *gorm.DB // a pool that cannot write
}

// readers is the size of the reading pool of one process.
const readers = 4

// Open opens the database at path, makes it when absent, and has migrate bring its
// tables up to date, one process at a time. It refuses a file or directory that
// another user could change.
func Open(ctx context.Context, path string, migrate func(*gorm.DB) error) (*DB, error) {
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	d := &DB{}
	if err := d.open(ctx, path, migrate); err != nil {
		if hasCode(err, codeCorrupt, codeNotADB) {
			err = fmt.Errorf("%w; it is damaged: restore a backup of it", err)
		}
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *DB) open(ctx context.Context, path string, migrate func(*gorm.DB) error) (err error) {
	if d.Write, err = connect(path, 1, "_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)"); err != nil {
		return err
	}
	if err := migrate(d.Write.WithContext(ctx)); err != nil {
		return err
	}
	d.Read, err = connect(path, readers, "_pragma=query_only(1)")
	return err
}

// Connect opens one connection to a database that is there, outside the pools of a DB.
func Connect(path string) (*gorm.DB, error) { return connect(path, 1, "mode=rw") }

// OpenStill opens a database that no process changes, to read it. No file appears beside
// it, so that it may stand in a directory that cannot be written.
func OpenStill(path string) (*gorm.DB, error) {
	return connect(path, 1, "mode=ro&immutable=1&_pragma=query_only(1)")
}

// Close ends all connections of a pool.
func Close(db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}

// connect opens a pool of at most conns connections. Each waits up to 10 s for
// another process's write.
//
// Statements are not kept where there is one connection: gorm holds the lock of
// its statement cache while it waits for a statement that another caller is
// preparing. If that one waits for the connection, and the transaction that has it
// for the lock, all three wait for ever.
func connect(path string, conns int, params string) (*gorm.DB, error) {
	file := url.URL{Scheme: "file", Path: path}
	dsn := file.String() + "?_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&" + params
	db, err := gorm.Open(sqlite.Open(dsn), &gorm.Config{
		Logger:                 logger.Discard, // statements hold names and hashes
		SkipDefaultTransaction: true,
		PrepareStmt:            conns > 1,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open the database %s: %w", path, err)
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("cannot open the database %s: %w", path, err)
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return db, nil
}

// Close ends all connections.
func (d *DB) Close() error {
	var errs []error
	for _, db := range []*gorm.DB{d.Read, d.Write} {
		if db != nil {
			errs = append(errs, Close(db))
		}
	}
	return errors.Join(errs...)
}

const (
	// busyBound is how long a locked database is tried in all. SQLite's own busy
	// timeout does not cover every case, such as the recovery of a log that a
	// killed process left.
	busyBound = 10 * time.Second
	busyPause = 20 * time.Millisecond
)

// SQLite's primary result codes (https://sqlite.org/rescode.html): a lock that another
// connection holds, and a file that is damaged. Extended codes have them in the low byte.
const (
	codeBusy    = 5
	codeLocked  = 6
	codeCorrupt = 11
	codeNotADB  = 26
	codeTrigger = 1811 // extended: a trigger said RAISE
)

// Raised reports whether err is what a trigger raised with that message.
func Raised(err error, message string) bool {
	var coded interface{ Code() int }
	return errors.As(err, &coded) && coded.Code() == codeTrigger && strings.Contains(err.Error(), message)
}

// RetryBusy runs fn until it ends with anything but a lock of someone else's, for
// ten seconds.
func RetryBusy(ctx context.Context, fn func() error) error {
	deadline := time.Now().Add(busyBound)
	for {
		err := fn()
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(busyPause/2 + rand.N(busyPause)):
		}
	}
}

func isBusy(err error) bool { return hasCode(err, codeBusy, codeLocked) }

func hasCode(err error, codes ...int) bool {
	var coded interface{ Code() int }
	return errors.As(err, &coded) && slices.Contains(codes, coded.Code()&0xff)
}
