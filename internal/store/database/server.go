package database

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gorm.io/gorm/clause"

	"github.com/fjmcp/fjmcp-broker/internal/store/postgres"
	"github.com/fjmcp/fjmcp-broker/internal/store/schema"
)

// server is the engine of PostgreSQL.
type server struct{ db *postgres.DB }

func openServer(ctx context.Context, dsn string) (*DB, error) {
	db, err := postgres.Open(ctx, dsn, schema.Migrate)
	if err != nil {
		return nil, err
	}
	return &DB{engine: server{db}, write: db.Write, read: db.Read}, nil
}

func (s server) Path() string { return s.db.Name }

func (s server) Size(ctx context.Context) (n int64, err error) {
	if err = s.db.Read.WithContext(ctx).Raw("SELECT pg_database_size(current_database())").Row().Scan(&n); err != nil {
		return 0, fmt.Errorf("cannot look at the database: %w", err)
	}
	return n, nil
}

// Now is the server's clock: those of the hosts that share it may differ.
func (server) Now(time.Time) clause.Expr {
	return clause.Expr{SQL: "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"}
}

func (s server) close() error { return s.db.Close() }

// isolation is that in which a row that was waited for is seen as it has become.
func (server) isolation() []*sql.TxOptions {
	return []*sql.TxOptions{{Isolation: sql.LevelReadCommitted}}
}

func (server) retry(ctx context.Context, fn func() error) error { return postgres.Retry(ctx, fn) }

// rewrite is of the tables with sealed values. The server's log is not the database's own.
func (server) rewrite() []string {
	return []string{"VACUUM (FULL) forgejo_tokens", "VACUUM (FULL) logins", "VACUUM (FULL) refresh_tokens", "VACUUM (FULL) session_states", "VACUUM (FULL) canary"}
}
