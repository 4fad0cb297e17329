package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/store/schema"
	"github.com/fjmcp/fjmcp-broker/internal/store/sqlite"
)

// file is the engine of SQLite.
type file struct {
	db   *sqlite.DB
	path string
}

func openFile(ctx context.Context, path string) (*DB, error) {
	db, err := sqlite.Open(ctx, path, schema.Migrate)
	if err != nil {
		return nil, err
	}
	return &DB{engine: file{db, path}, write: db.Write, read: db.Read}, nil
}

func (f file) Path() string { return f.path }

// Size adds up the files; those that do not exist count nothing.
func (f file) Size(context.Context) (sum int64, err error) {
	for _, path := range []string{f.path, f.path + "-wal"} {
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

// Now is the caller's clock: whoever shares the file is on the same machine.
func (file) Now(clock time.Time) clause.Expr {
	return clause.Expr{SQL: "?", Vars: []any{clock.UnixMilli()}}
}

func (f file) close() error { return f.db.Close() }

// isolation is none to choose: one transaction writes at a time.
func (file) isolation() []*sql.TxOptions { return nil }

func (file) retry(ctx context.Context, fn func() error) error { return sqlite.RetryBusy(ctx, fn) }

func (file) rewrite() []string { return []string{"VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} }
