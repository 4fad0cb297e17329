package store

import (
	"errors"
	"fmt"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
)

// migrations run in order, all in one immediate transaction, so that of two
// processes that start together one migrates and the other finds it done. Never
// change one that was released: add another.
var migrations = []*gormigrate.Migration{
	{ID: "0001_base", Migrate: statements(
		`CREATE TABLE clients (
			id TEXT PRIMARY KEY,
			name TEXT NOT NULL,
			secret_hash BLOB,
			auth_method TEXT NOT NULL,
			redirect_uris TEXT NOT NULL,
			grant_types TEXT NOT NULL,
			uri TEXT NOT NULL,
			created_at INTEGER NOT NULL
		) STRICT`,
		`CREATE TABLE users (
			id TEXT PRIMARY KEY,
			forge TEXT NOT NULL,
			subject TEXT NOT NULL,
			name TEXT NOT NULL,
			UNIQUE (forge, subject)
		) STRICT`,
		`CREATE TABLE forgejo_tokens (
			user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			sealed BLOB NOT NULL,
			expires_at INTEGER NOT NULL,
			scope TEXT NOT NULL,
			updated_at INTEGER NOT NULL
		) STRICT`,
		`CREATE TABLE logins (
			state_hash BLOB PRIMARY KEY,
			browser_hash BLOB NOT NULL,
			client_id TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
			redirect_uri TEXT NOT NULL,
			client_state TEXT NOT NULL,
			challenge TEXT NOT NULL,
			scope TEXT NOT NULL,
			resource TEXT NOT NULL,
			verifier_sealed BLOB NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT`,
		`CREATE INDEX logins_by_client ON logins (client_id)`,
		`CREATE TABLE grants (
			id TEXT PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id),
			client_id TEXT NOT NULL REFERENCES clients (id),
			scope TEXT NOT NULL,
			resource TEXT NOT NULL,
			created_at INTEGER NOT NULL,
			redeemed_at INTEGER NOT NULL,
			revoked_at INTEGER NOT NULL
		) STRICT`,
		`CREATE INDEX grants_by_user ON grants (user_id)`,
		`CREATE INDEX grants_by_client ON grants (client_id)`,
		`CREATE TABLE codes (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			redirect_uri TEXT NOT NULL,
			challenge TEXT NOT NULL,
			expires_at INTEGER NOT NULL,
			used_at INTEGER NOT NULL
		) STRICT`,
		`CREATE INDEX codes_by_grant ON codes (grant_id)`,
		// A row of refresh_tokens is one generation of its family: the refresh
		// token itself and the access tokens issued with it.
		`CREATE TABLE refresh_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			created_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL,
			first_used_at INTEGER NOT NULL,
			successor_hash BLOB,
			successor_sealed BLOB
		) STRICT`,
		`CREATE INDEX refresh_tokens_by_grant ON refresh_tokens (grant_id)`,
		`CREATE TABLE access_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			refresh_hash BLOB NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT`,
		`CREATE INDEX access_tokens_by_grant ON access_tokens (grant_id)`,
		`CREATE TABLE leases (
			name TEXT PRIMARY KEY,
			holder TEXT NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT`,
		`CREATE TABLE sessions (
			id TEXT PRIMARY KEY,
			unit_id TEXT NOT NULL,
			user_id TEXT NOT NULL REFERENCES users (id),
			client_id TEXT NOT NULL REFERENCES clients (id),
			grant_id TEXT NOT NULL REFERENCES grants (id),
			protocol TEXT NOT NULL,
			initialize TEXT NOT NULL,
			created_at INTEGER NOT NULL,
			last_used_at INTEGER NOT NULL
		) STRICT`,
		`CREATE UNIQUE INDEX sessions_by_unit ON sessions (unit_id) WHERE unit_id <> ''`,
		`CREATE INDEX sessions_by_grant ON sessions (grant_id)`,
		`CREATE INDEX sessions_by_client ON sessions (client_id)`,
		`CREATE INDEX sessions_by_user ON sessions (user_id)`,
	)},
}

func statements(list ...string) gormigrate.MigrateFunc {
	return func(tx *gorm.DB) error {
		for _, sql := range list {
			if err := tx.Exec(sql).Error; err != nil {
				return err
			}
		}
		return nil
	}
}

func migrate(db *gorm.DB) error {
	err := gormigrate.New(db, &gormigrate.Options{
		TableName:                 "migrations",
		IDColumnName:              "id",
		UseTransaction:            true,
		ValidateUnknownMigrations: true,
	}, migrations).Migrate()
	if errors.Is(err, gormigrate.ErrUnknownPastMigration) {
		return errors.New("cannot open the database: a newer version of fjmcp wrote it; install that version again or restore a backup")
	}
	if err != nil {
		return fmt.Errorf("cannot bring the database up to date: %w", err)
	}
	return nil
}
