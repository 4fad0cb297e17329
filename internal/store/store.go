package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"time"

	"gorm.io/gorm"
	gormschema "gorm.io/gorm/schema"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/schema"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/store/sqlite"
)

// Options says where the database is and how to seal in it. Path and Keys are required.
type Options struct {
	Path string           // of the database file; made when absent
	Keys *seal.Keyring    // seals what must be read back
	Now  func() time.Time // time.Now when nil
	// Timed is told how long each read took, up to its first row, and each write, with the
	// commit and what it waited for. It must not wait. Optional.
	Timed func(op Operation, took time.Duration)
}

// Operation is a kind of use of the database.
type Operation string

// Operations.
const (
	Read  Operation = "read"
	Write Operation = "write"
)

// Store is the database. It is safe for concurrent use, and several processes
// may have the same file open.
type Store struct {
	db    *sqlite.DB
	write *gorm.DB // db's
	read  *gorm.DB // db's
	path  string
	keys  *seal.Keyring
	now   func() time.Time
	timed func(Operation, time.Duration) // may be nil
	gen   *generation
}

// Open opens the database at o.Path, makes it when absent, and brings its
// tables up to date. It refuses a file or directory that another user could
// change, a database that a newer version wrote, and one that was sealed with other
// keys (ErrWrongKey).
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Keys == nil {
		return nil, errors.New("cannot open the store: no key to seal with")
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the store: %w", err)
	}
	db, err := sqlite.Open(ctx, path, schema.Migrate)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, write: db.Write, read: db.Read, path: path, keys: o.Keys, now: o.Now, timed: o.Timed, gen: &generation{}}
	if s.now == nil {
		s.now = time.Now
	}
	err = s.timeReads()
	if err == nil {
		err = s.gen.prepare(ctx, s.read)
	}
	if err == nil {
		err = s.checkKey(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Path is where the database is, absolute.
func (s *Store) Path() string { return s.path }

// Close ends all connections.
func (s *Store) Close() error { return errors.Join(s.gen.close(), s.db.Close()) }

// Check reports whether the database can be read and written now. It changes a row, a
// lease that nobody takes, since SQLite writes nothing for one that stays what it was.
func (s *Store) Check(ctx context.Context) error {
	err := s.exec(ctx, `INSERT INTO leases (name, holder, expires_at) VALUES ('check', '', ?)
		ON CONFLICT (name) DO UPDATE SET expires_at = max(excluded.expires_at, leases.expires_at + 1)`, ms(s.now())).Error
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
	err := s.writing(ctx, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) (err error) {
			if err = fn(tx); err != nil {
				return err
			}
			return tx.Raw(generationQuery).Row().Scan(&gen)
		})
	})
	if err == nil {
		s.gen.note(gen)
	}
	return wrap(err)
}

// exec runs one statement, which changes nothing that Access returns.
func (s *Store) exec(ctx context.Context, sql string, args ...any) (res *gorm.DB) {
	err := s.writing(ctx, func(db *gorm.DB) error {
		res = db.Exec(sql, args...)
		return res.Error
	})
	res.Error = err
	return res
}

// writing runs fn on the writing connection. What other processes' locks make fail is
// tried again, so fn must bear to run twice.
func (s *Store) writing(ctx context.Context, fn func(db *gorm.DB) error) error {
	if s.timed != nil {
		defer func(began time.Time) { s.timed(Write, time.Since(began)) }(time.Now())
	}
	return sqlite.RetryBusy(ctx, func() error { return fn(s.write.WithContext(ctx)) })
}

// timeReads puts a clock around what gorm does for each statement of the readers.
func (s *Store) timeReads() error {
	if s.timed == nil {
		return nil
	}
	timed := func(do func(*gorm.DB)) func(*gorm.DB) {
		return func(db *gorm.DB) {
			began := time.Now()
			do(db)
			s.timed(Read, time.Since(began))
		}
	}
	all := s.read.Callback()
	return errors.Join(
		all.Query().Replace("gorm:query", timed(all.Query().Get("gorm:query"))),
		all.Row().Replace("gorm:row", timed(all.Row().Get("gorm:row"))))
}

func (s *Store) reader(ctx context.Context) *gorm.DB { return s.read.WithContext(ctx) }

// take returns the row that matches, or model.ErrNotFound.
func take[T any](db *gorm.DB, where string, args ...any) (row T, err error) {
	err = wrap(db.Where(where, args...).Take(&row).Error)
	return row, err
}

// openJSON reads what was sealed as JSON.
func (s *Store) openJSON(sealed, ad []byte, v any) error {
	plain, err := s.keys.Open(sealed, ad)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, v)
}

// wrap turns gorm's words into the broker's.
func wrap(err error) error {
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return model.ErrNotFound
	case sqlite.Raised(err, schema.UserBlocked):
		return model.ErrBlocked
	}
	return err
}

// one turns "no row was touched" into model.ErrNotFound.
func one(res *gorm.DB) error {
	if res.Error == nil && res.RowsAffected == 0 {
		return model.ErrNotFound
	}
	return res.Error
}

func init() { gormschema.RegisterSerializer("ms", milliseconds{}) }

// milliseconds is how gorm reads and writes times, see ms.
type milliseconds struct{}

// Scan implements schema.SerializerInterface.
func (milliseconds) Scan(ctx context.Context, field *gormschema.Field, row reflect.Value, stored any) error {
	v, ok := stored.(int64)
	if !ok && stored != nil {
		return fmt.Errorf("cannot read %s: it is no number", field.DBName)
	}
	field.ReflectValueOf(ctx, row).Set(reflect.ValueOf(fromMS(v)))
	return nil
}

// Value implements schema.SerializerValuerInterface.
func (milliseconds) Value(_ context.Context, _ *gormschema.Field, _ reflect.Value, v any) (any, error) {
	return ms(v.(time.Time)), nil
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
