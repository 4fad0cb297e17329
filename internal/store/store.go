package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/fjmcp/fjmcp-broker/internal/broker"
	"github.com/fjmcp/fjmcp-broker/internal/seal"
)

// Options says where the database is and how to seal in it. All fields but Now
// are required.
type Options struct {
	Path string           // of the database file; made when absent
	Keys *seal.Keyring    // seals what must be read back
	Now  func() time.Time // time.Now when nil
}

// Store is the database. It is safe for concurrent use, and several processes
// may have the same file open.
type Store struct {
	write *gorm.DB // one connection, BEGIN IMMEDIATE
	read  *gorm.DB // a pool, query_only
	path  string
	keys  *seal.Keyring
	now   func() time.Time
	gen   *generation
}

// readers is the size of the reading pool of one process.
const readers = 4

// Open opens the database at o.Path, makes it when absent, and brings its
// tables up to date. It refuses a file or directory that another user could
// change, and a database that a newer version wrote.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Keys == nil {
		return nil, errors.New("cannot open the store: no key to seal with")
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the store: %w", err)
	}
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	s := &Store{path: path, keys: o.Keys, now: o.Now, gen: &generation{}}
	if s.now == nil {
		s.now = time.Now
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.open(ctx, path); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, path string) (err error) {
	if s.write, err = connect(path, 1, "_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)"); err != nil {
		return err
	}
	if err := migrate(s.write.WithContext(ctx)); err != nil {
		return err
	}
	if s.read, err = connect(path, readers, "_pragma=query_only(1)"); err != nil {
		return err
	}
	return s.gen.prepare(ctx, s.read)
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
func (s *Store) Close() error {
	var errs []error
	errs = append(errs, s.gen.close())
	for _, db := range []*gorm.DB{s.read, s.write} {
		if db == nil {
			continue
		}
		pool, err := db.DB()
		if err == nil {
			err = pool.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Check reports whether the database can be read and written now.
func (s *Store) Check(ctx context.Context) error {
	err := s.update(ctx, func(tx *gorm.DB) error {
		return tx.Exec("UPDATE leases SET expires_at = expires_at WHERE name = ''").Error
	})
	if err != nil {
		return fmt.Errorf("cannot write to the database: %w", err)
	}
	if err := s.reader(ctx).Exec("SELECT 1 FROM clients LIMIT 1").Error; err != nil {
		return fmt.Errorf("cannot read the database: %w", err)
	}
	return nil
}

// update runs fn in one immediate transaction and rolls back when fn fails. What
// other processes' locks make fail is tried again, so fn must bear to run twice.
func (s *Store) update(ctx context.Context, fn func(tx *gorm.DB) error) error {
	var gen int64
	err := retryBusy(ctx, func() error {
		return s.write.WithContext(ctx).Transaction(func(tx *gorm.DB) (err error) {
			if err = fn(tx); err != nil {
				return err
			}
			gen, err = readGeneration(tx)
			return err
		})
	})
	if err == nil {
		s.gen.note(gen)
	}
	return wrap(err)
}

func (s *Store) reader(ctx context.Context) *gorm.DB { return s.read.WithContext(ctx) }

// wrap turns gorm's words into the broker's.
func wrap(err error) error {
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return broker.ErrNotFound
	}
	return err
}

// one turns "no row was touched" into broker.ErrNotFound.
func one(res *gorm.DB) error {
	if res.Error == nil && res.RowsAffected == 0 {
		return broker.ErrNotFound
	}
	return res.Error
}

// ms is how times are stored: milliseconds since 1970, 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMS(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}
