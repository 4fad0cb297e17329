// Package schema is the tables of the database, as versioned migrations, in the dialects of
// SQLite and PostgreSQL.
package schema

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/proto/oauth"
)

// sqlite are the migrations of SQLite. They run in order, all in one immediate transaction, so that of two
// processes that start together one migrates and the other finds it done. Never
// change one that was released: add another.
var sqlite = []*gormigrate.Migration{
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
	{ID: "0002_client_kinds", Migrate: statements(
		`ALTER TABLE clients ADD COLUMN kind TEXT NOT NULL DEFAULT 'registered'`,
		`ALTER TABLE clients ADD COLUMN jwks TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE clients ADD COLUMN jwks_uri TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE clients ADD COLUMN signing_alg TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE clients ADD COLUMN allow_none INTEGER NOT NULL DEFAULT 0`,
		`ALTER TABLE clients ADD COLUMN introspect INTEGER NOT NULL DEFAULT 0`,
		`ALTER TABLE clients ADD COLUMN registration_hash BLOB`,
		// A deleted client stays for as long as a grant names it.
		`ALTER TABLE clients ADD COLUMN deleted_at INTEGER NOT NULL DEFAULT 0`,
		`CREATE TABLE assertions (
			hash BLOB PRIMARY KEY,
			expires_at INTEGER NOT NULL
		) STRICT`,
	)},
	{ID: "0003_generation", Migrate: statements(
		// What Access may return for, see store.Generation.
		`CREATE TABLE generation (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL) STRICT`,
		`INSERT INTO generation (id, n) VALUES (1, 1)`,
		// A set is withheld while its scope is broader than the configured one.
		`ALTER TABLE forgejo_tokens ADD COLUMN withheld INTEGER NOT NULL DEFAULT 0`,
		`CREATE TRIGGER grant_revoked AFTER UPDATE OF revoked_at ON grants WHEN NEW.revoked_at <> OLD.revoked_at
			BEGIN UPDATE generation SET n = n + 1; END`,
		`CREATE TRIGGER access_token_gone AFTER DELETE ON access_tokens
			BEGIN UPDATE generation SET n = n + 1; END`,
		`CREATE TRIGGER forgejo_tokens_gone AFTER DELETE ON forgejo_tokens
			BEGIN UPDATE generation SET n = n + 1; END`,
		`CREATE TRIGGER forgejo_tokens_withheld AFTER UPDATE OF withheld ON forgejo_tokens WHEN NEW.withheld <> OLD.withheld
			BEGIN UPDATE generation SET n = n + 1; END`,
		`CREATE TRIGGER user_renamed AFTER UPDATE OF name ON users WHEN NEW.name <> OLD.name
			BEGIN UPDATE generation SET n = n + 1; END`,
		`CREATE TRIGGER client_renamed AFTER UPDATE OF name ON clients WHEN NEW.name <> OLD.name
			BEGIN UPDATE generation SET n = n + 1; END`,
	)},
	{ID: "0004_login_set", Migrate: statements(
		// A login is taken by one callback, and keeps Forgejo's token set until it
		// is known whose it is.
		`ALTER TABLE logins ADD COLUMN taken_at INTEGER NOT NULL DEFAULT 0`,
		`ALTER TABLE logins ADD COLUMN set_sealed BLOB`,
	)},
	{ID: "0005_account", Migrate: statements(
		`CREATE TABLE account_sessions (
			hash BLOB PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
			idle_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT`,
		// What the account page tells of a grant.
		`ALTER TABLE grants ADD COLUMN redirect_uri TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grants ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0`,
		`CREATE TRIGGER grant_used_first AFTER INSERT ON sessions
			BEGIN UPDATE grants SET used_at = MAX(used_at, NEW.last_used_at) WHERE id = NEW.grant_id; END`,
		`CREATE TRIGGER grant_used AFTER UPDATE OF last_used_at ON sessions
			BEGIN UPDATE grants SET used_at = MAX(used_at, NEW.last_used_at) WHERE id = NEW.grant_id; END`,
		// A login to the account page has no client: client_id is empty.
		`CREATE TABLE logins_new (
			state_hash BLOB PRIMARY KEY,
			browser_hash BLOB NOT NULL,
			client_id TEXT NOT NULL,
			redirect_uri TEXT NOT NULL,
			client_state TEXT NOT NULL,
			challenge TEXT NOT NULL,
			scope TEXT NOT NULL,
			resource TEXT NOT NULL,
			verifier_sealed BLOB NOT NULL,
			expires_at INTEGER NOT NULL,
			taken_at INTEGER NOT NULL,
			set_sealed BLOB
		) STRICT`,
		`INSERT INTO logins_new SELECT state_hash, browser_hash, client_id, redirect_uri, client_state, challenge,
			scope, resource, verifier_sealed, expires_at, taken_at, set_sealed FROM logins`,
		`DROP TABLE logins`,
		`ALTER TABLE logins_new RENAME TO logins`,
		`CREATE INDEX logins_by_client ON logins (client_id)`,
	)},
	{ID: "0006_read_only", Migrate: statements(
		// Before this every client was taken to ask for both scopes.
		`ALTER TABLE logins ADD COLUMN requested TEXT NOT NULL DEFAULT 'forgejo:read forgejo:write'`,
		`ALTER TABLE grants ADD COLUMN requested TEXT NOT NULL DEFAULT 'forgejo:read forgejo:write'`,
		`ALTER TABLE sessions ADD COLUMN read_only INTEGER NOT NULL DEFAULT 0`,
		`UPDATE sessions SET read_only = 1 WHERE grant_id IN (SELECT id FROM grants WHERE scope NOT LIKE '%forgejo:write%')`,
	)},
	{ID: "0007_shared_sessions", Migrate: statements(
		`ALTER TABLE sessions ADD COLUMN kind TEXT NOT NULL DEFAULT 'client'`,
		`CREATE UNIQUE INDEX sessions_shared ON sessions (grant_id, read_only) WHERE kind = 'shared'`,
	)},
	{ID: "0008_resume", Migrate: statements(
		// How often a process took over the session's unit.
		`ALTER TABLE sessions ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0`,
		// What a killed process must leave behind, see model.Session.
		`ALTER TABLE sessions ADD COLUMN log_level TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE sessions ADD COLUMN server TEXT NOT NULL DEFAULT ''`,
		// What a process that ended wrote down for the next.
		`CREATE TABLE session_states (
			session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
			unit_id TEXT NOT NULL,
			sealed BLOB NOT NULL
		) STRICT`,
	)},
	{ID: "0009_sessions_by_age", Migrate: statements(
		`CREATE INDEX sessions_by_age ON sessions (created_at)`,
	)},
	{ID: "0010_sealed_clients", Migrate: statements(
		// A registration is in its client's id, see package clientid: none can be deleted
		// by the client, since equal ones share it.
		`ALTER TABLE clients DROP COLUMN registration_hash`,
		`ALTER TABLE clients DROP COLUMN grant_types`, // read by nobody, as the next
		`ALTER TABLE clients DROP COLUMN uri`,
		// Of the secret that redeemed the code; NULL for a client without one.
		`ALTER TABLE grants ADD COLUMN secret_hash BLOB`,
	)},
	{ID: "0011_canary", Migrate: statements(
		// Tells at start whether the store key is the one of this database.
		`CREATE TABLE canary (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT`,
	)},
	{ID: "0012_client_names", Migrate: cleanNames},
	{ID: "0013_user_names", Migrate: statements(
		// A name is one user's at a time, as at the forge. It is taken to be the one's who
		// logged in last; the others' are not known.
		`UPDATE users SET name = '' WHERE EXISTS (
			SELECT 1 FROM users o WHERE o.forge = users.forge AND o.name = users.name COLLATE NOCASE AND o.id <> users.id
				AND (SELECT COALESCE(MAX(created_at), 0) FROM grants WHERE user_id = o.id) || o.id
				  > (SELECT COALESCE(MAX(created_at), 0) FROM grants WHERE user_id = users.id) || users.id)`,
		`CREATE UNIQUE INDEX users_by_name ON users (forge, name COLLATE NOCASE) WHERE name <> ''`,
	)},
	{ID: "0014_grant_narrowed", Migrate: statements(
		`ALTER TABLE grants ADD COLUMN narrowed INTEGER NOT NULL DEFAULT 0`,
		`CREATE TRIGGER grant_narrowed AFTER UPDATE OF scope ON grants WHEN NEW.scope <> OLD.scope
			BEGIN UPDATE generation SET n = n + 1; END`,
	)},
	{ID: "0015_blocks", Migrate: statements(
		// By the forge's number alone, so that a block outlives a forge's move to another URL.
		`CREATE TABLE blocks (
			subject TEXT PRIMARY KEY,
			blocked_at INTEGER NOT NULL,
			blocked_by TEXT NOT NULL
		) STRICT`,
		`CREATE INDEX users_by_subject ON users (subject)`,
		// The generation in which the operator ended all of the user, and that in which a
		// login began: one of an earlier generation leads nowhere.
		`ALTER TABLE users ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0`,
		`ALTER TABLE logins ADD COLUMN begun INTEGER NOT NULL DEFAULT 0`,
		refuseBlocked("grants"), refuseBlocked("account_sessions"), refuseBlocked("forgejo_tokens"),
	)},
	{ID: "0016_device_requests", Migrate: statements(
		// JSON, of what a client logs in by; NULL for authorization_code alone.
		`ALTER TABLE clients ADD COLUMN grant_types TEXT`,
		`ALTER TABLE logins ADD COLUMN device_id TEXT NOT NULL DEFAULT ''`,
		`CREATE TABLE device_requests (
			id TEXT PRIMARY KEY,
			hash BLOB NOT NULL UNIQUE,
			user_hash BLOB NOT NULL UNIQUE,
			client_id TEXT NOT NULL,
			requested TEXT NOT NULL,
			resource TEXT NOT NULL,
			address TEXT NOT NULL,
			created_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL,
			interval INTEGER NOT NULL,
			polled_at INTEGER NOT NULL,
			denied_at INTEGER NOT NULL,
			grant_id TEXT NOT NULL,
			used_at INTEGER NOT NULL
		) STRICT`,
		`CREATE INDEX device_requests_by_grant ON device_requests (grant_id) WHERE grant_id <> ''`,
	)},
	{ID: "0017_restore", Migrate: statements(
		// How many of its family came before it, for those that were made since.
		`ALTER TABLE refresh_tokens ADD COLUMN generation INTEGER NOT NULL DEFAULT 0`,
		// 1: restored from a backup and not refreshed since, 2: refreshed since.
		`ALTER TABLE grants ADD COLUMN restored INTEGER NOT NULL DEFAULT 0`,
		// Refresh tokens of an earlier generation were replaced before a restore.
		`ALTER TABLE grants ADD COLUMN least_generation INTEGER NOT NULL DEFAULT 0`,
		// What the broker's audit is still to tell.
		`CREATE TABLE restores (
			id INTEGER PRIMARY KEY,
			restored_at INTEGER NOT NULL,
			operator TEXT NOT NULL,
			outcome TEXT NOT NULL,
			detail TEXT NOT NULL,
			told_at INTEGER NOT NULL
		) STRICT`,
	)},
	{ID: "0018_policy", Migrate: statements(
		// What the policy allowed when the user logged in, JSON of policy.Rights. Empty for a
		// login without a policy.
		`ALTER TABLE grants ADD COLUMN ceiling TEXT NOT NULL DEFAULT ''`,
		`CREATE TRIGGER grant_ceiling AFTER UPDATE OF ceiling ON grants WHEN NEW.ceiling <> OLD.ceiling
			BEGIN UPDATE generation SET n = n + 1; END`,
		// The session only reads since its URL or a header says so.
		`ALTER TABLE sessions ADD COLUMN view_read_only INTEGER NOT NULL DEFAULT 0`,
		// What the forge has said of its users; organizations and teams are JSON, NULL for none.
		`CREATE TABLE memberships (
			user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			asked_at INTEGER NOT NULL,
			administrator INTEGER NOT NULL,
			organizations TEXT,
			teams TEXT
		) STRICT`,
		// Whom the names of the policy meant when they were read first.
		`CREATE TABLE policy_names (
			kind TEXT NOT NULL,
			name TEXT NOT NULL,
			id INTEGER NOT NULL,
			PRIMARY KEY (kind, name)
		) STRICT`,
	)},
	{ID: "0020_named_at", Migrate: statements(
		// When the forge told the name, for who is one user at several URLs of it. Before,
		// the latest row counted.
		`ALTER TABLE users ADD COLUMN named_at INTEGER NOT NULL DEFAULT 0`,
		`UPDATE users SET named_at = rowid`,
	)},
	{ID: "0021_folded_names", Migrate: statements(
		// By an expression that other databases have as well. It folds ASCII, as NOCASE does.
		`DROP INDEX users_by_name`,
		`CREATE UNIQUE INDEX users_by_name ON users (forge, lower(name)) WHERE name <> ''`,
	)},
}

// UserBlocked is what a statement fails with that would give a blocked user anything.
const UserBlocked = "the user is blocked"

// refuseBlocked has the database itself refuse new rows of blocked users, so that no kind
// of login can forget to look.
func refuseBlocked(table string) string {
	return `CREATE TRIGGER ` + table + `_of_blocked BEFORE INSERT ON ` + table + `
		WHEN EXISTS (SELECT 1 FROM blocks b JOIN users u ON u.subject = b.subject WHERE u.id = NEW.user_id)
		BEGIN SELECT RAISE(ABORT, '` + UserBlocked + `'); END`
}

func isPostgres(db *gorm.DB) bool { return db.Name() == "postgres" }

// of returns the migrations in the database's dialect.
func of(db *gorm.DB) []*gormigrate.Migration {
	if isPostgres(db) {
		return postgres
	}
	return sqlite
}

// Unknown returns the first migration of a database that is not one of this version, or "".
func Unknown(db *gorm.DB) (string, error) {
	var ids []string
	if err := db.Raw("SELECT id FROM migrations ORDER BY id").Scan(&ids).Error; err != nil {
		return "", fmt.Errorf("it is no database of fjmcp: %w", err)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(of(db), func(m *gormigrate.Migration) bool { return m.ID == id }) {
			return id, nil
		}
	}
	return "", nil
}

// cleanNames gives each client the name that it would be stored with today.
func cleanNames(tx *gorm.DB) error {
	var clients []struct {
		ID, Name     string
		RedirectURIs []string `gorm:"column:redirect_uris;serializer:json"`
	}
	if err := tx.Table("clients").Find(&clients).Error; err != nil {
		return err
	}
	for _, c := range clients {
		name := oauth.ClientName(model.Client{Name: c.Name, RedirectURIs: c.RedirectURIs})
		if name == c.Name {
			continue
		}
		if err := tx.Exec("UPDATE clients SET name = ? WHERE id = ?", name, c.ID).Error; err != nil {
			return err
		}
	}
	return nil
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

// Migrate brings the tables up to date. It refuses a database that a newer version
// wrote.
func Migrate(db *gorm.DB) error {
	// gormigrate does not look whether a transaction of its own has begun.
	err := db.Transaction(func(tx *gorm.DB) error {
		if isPostgres(tx) {
			if err := one(tx); err != nil {
				return err
			}
		}
		return gormigrate.New(tx, &gormigrate.Options{
			TableName:                 "migrations",
			IDColumnName:              "id",
			ValidateUnknownMigrations: true,
		}, of(tx)).Migrate()
	}, options(db)...)
	if errors.Is(err, gormigrate.ErrUnknownPastMigration) {
		return errors.New("cannot open the database: a newer version of fjmcp wrote it; install that version again or restore a backup")
	}
	if err != nil {
		return fmt.Errorf("cannot bring the database up to date: %w", err)
	}
	return nil
}
