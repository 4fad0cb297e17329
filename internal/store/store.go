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
	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/store/sealed"
)

// Options says where the database is and how to seal in it. Path or DSN, and Keys, are required.
type Options struct {
	Path string           // of SQLite's file; made when absent
	DSN  string           // in place of Path: libpq's connection string of PostgreSQL, a secret
	Keys *seal.Keyring    // seals what must be read back
	Now  func() time.Time // time.Now when nil
	// Timed is told how long each read took, up to its first row, and each write, with the
	// commit and what it waited for. It must not wait. Optional.
	Timed func(op database.Operation, took time.Duration)
}

// Store is the database. It is safe for concurrent use, and several processes
// may have the same open.
type Store struct {
	db   *database.DB
	keys *seal.Keyring
	now  func() time.Time
}

// Open opens the database, makes SQLite's file when absent, and brings the tables up to
// date. It refuses a file or directory that another user could
// change, a database that a newer version wrote, and one that was sealed with other
// keys (sealed.ErrWrongKey).
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Keys == nil {
		return nil, errors.New("cannot open the store: no key to seal with")
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the store: %w", err)
	}
	db, err := database.Open(ctx, path, o.DSN, o.Timed)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, keys: o.Keys, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if err := sealed.CheckKey(ctx, db, o.Keys); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Path is where the database is: a file, absolute, or host and name.
func (s *Store) Path() string { return s.db.Path() }

// Close ends all connections.
func (s *Store) Close() error { return s.db.Close() }

// Check reports whether the database can be read and written now. It changes a row, a
// lease that nobody takes, since SQLite writes nothing for one that stays what it was.
func (s *Store) Check(ctx context.Context) error {
	err := s.db.Exec(ctx, `INSERT INTO leases (name, holder, expires_at) VALUES ('check', '', ?)
		ON CONFLICT (name) DO UPDATE SET expires_at = CASE WHEN excluded.expires_at > leases.expires_at THEN excluded.expires_at ELSE leases.expires_at + 1 END`, ms(s.now())).Error
	if err != nil {
		return fmt.Errorf("cannot write to the database: %w", err)
	}
	if err := s.db.Reader(ctx).Exec("SELECT 1 FROM clients LIMIT 1").Error; err != nil {
		return fmt.Errorf("cannot read the database: %w", err)
	}
	return nil
}

// Generation returns the number that stands for the state of all that Access returns:
// while it is the same, so is every answer of Access, but for expiry. Writes of this
// process show in it at once, those of others within maxAge.
func (s *Store) Generation(ctx context.Context, maxAge time.Duration) (int64, error) {
	return s.db.Generation(ctx, maxAge)
}

// Reseal brings all that is sealed under the current key, see sealed.Reseal.
func (s *Store) Reseal(ctx context.Context) (sealed.Resealed, error) {
	return sealed.Reseal(ctx, s.db, s.keys)
}

// take returns the row that matches, or model.ErrNotFound.
func take[T any](db *gorm.DB, where string, args ...any) (row T, err error) {
	err = database.Error(db.Where(where, args...).Take(&row).Error)
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

// takeLocked is take for a row that decides, see database.Locked.
func takeLocked[T any](tx *gorm.DB, where string, args ...any) (row T, err error) {
	return take[T](database.Locked(tx), where, args...)
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
