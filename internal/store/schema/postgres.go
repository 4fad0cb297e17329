package schema

import (
	"database/sql"
	"slices"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
)

// postgres are the migrations of PostgreSQL. There was no such database before the base,
// which holds all of SQLite's up to 0021_folded_names. What follows that there has its
// counterpart, of the same name, here.
// Never change one that was released: add another.
//
// Text is compared byte by byte, as SQLite does, whatever the database's own collation.
var postgres = []*gormigrate.Migration{
	{ID: "0021_base", Migrate: statements(slices.Concat([]string{
		`CREATE TABLE clients (
			id TEXT COLLATE "C" PRIMARY KEY,
			name TEXT COLLATE "C" NOT NULL,
			secret_hash BYTEA,
			auth_method TEXT COLLATE "C" NOT NULL,
			redirect_uris TEXT COLLATE "C" NOT NULL,
			created_at BIGINT NOT NULL,
			kind TEXT COLLATE "C" NOT NULL DEFAULT 'registered',
			jwks TEXT COLLATE "C" NOT NULL DEFAULT '',
			jwks_uri TEXT COLLATE "C" NOT NULL DEFAULT '',
			signing_alg TEXT COLLATE "C" NOT NULL DEFAULT '',
			allow_none BOOLEAN NOT NULL DEFAULT FALSE,
			introspect BOOLEAN NOT NULL DEFAULT FALSE,
			deleted_at BIGINT NOT NULL DEFAULT 0,
			grant_types TEXT COLLATE "C"
		)`,
		`CREATE TABLE users (
			id TEXT COLLATE "C" PRIMARY KEY,
			forge TEXT COLLATE "C" NOT NULL,
			subject TEXT COLLATE "C" NOT NULL,
			name TEXT COLLATE "C" NOT NULL,
			revoked BIGINT NOT NULL DEFAULT 0,
			named_at BIGINT NOT NULL DEFAULT 0,
			UNIQUE (forge, subject)
		)`,
		`CREATE UNIQUE INDEX users_by_name ON users (forge, lower(name)) WHERE name <> ''`,
		`CREATE INDEX users_by_subject ON users (subject)`,
		`CREATE TABLE forgejo_tokens (
			user_id TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			sealed BYTEA NOT NULL,
			expires_at BIGINT NOT NULL,
			scope TEXT COLLATE "C" NOT NULL,
			updated_at BIGINT NOT NULL,
			withheld BOOLEAN NOT NULL DEFAULT FALSE
		)`,
		`CREATE TABLE logins (
			state_hash BYTEA PRIMARY KEY,
			browser_hash BYTEA NOT NULL,
			client_id TEXT COLLATE "C" NOT NULL,
			redirect_uri TEXT COLLATE "C" NOT NULL,
			client_state TEXT COLLATE "C" NOT NULL,
			challenge TEXT COLLATE "C" NOT NULL,
			scope TEXT COLLATE "C" NOT NULL,
			resource TEXT COLLATE "C" NOT NULL,
			verifier_sealed BYTEA NOT NULL,
			expires_at BIGINT NOT NULL,
			taken_at BIGINT NOT NULL,
			set_sealed BYTEA,
			requested TEXT COLLATE "C" NOT NULL DEFAULT 'forgejo:read forgejo:write',
			begun BIGINT NOT NULL DEFAULT 0,
			device_id TEXT COLLATE "C" NOT NULL DEFAULT ''
		)`,
		`CREATE INDEX logins_by_client ON logins (client_id)`,
		`CREATE TABLE grants (
			id TEXT COLLATE "C" PRIMARY KEY,
			user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
			client_id TEXT COLLATE "C" NOT NULL REFERENCES clients (id),
			scope TEXT COLLATE "C" NOT NULL,
			resource TEXT COLLATE "C" NOT NULL,
			created_at BIGINT NOT NULL,
			redeemed_at BIGINT NOT NULL,
			revoked_at BIGINT NOT NULL,
			redirect_uri TEXT COLLATE "C" NOT NULL DEFAULT '',
			used_at BIGINT NOT NULL DEFAULT 0,
			requested TEXT COLLATE "C" NOT NULL DEFAULT 'forgejo:read forgejo:write',
			secret_hash BYTEA,
			narrowed BOOLEAN NOT NULL DEFAULT FALSE,
			restored BIGINT NOT NULL DEFAULT 0,
			least_generation BIGINT NOT NULL DEFAULT 0,
			ceiling TEXT COLLATE "C" NOT NULL DEFAULT ''
		)`,
		`CREATE INDEX grants_by_user ON grants (user_id)`,
		`CREATE INDEX grants_by_client ON grants (client_id)`,
		`CREATE TABLE codes (
			hash BYTEA PRIMARY KEY,
			grant_id TEXT COLLATE "C" NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			redirect_uri TEXT COLLATE "C" NOT NULL,
			challenge TEXT COLLATE "C" NOT NULL,
			expires_at BIGINT NOT NULL,
			used_at BIGINT NOT NULL
		)`,
		`CREATE INDEX codes_by_grant ON codes (grant_id)`,
		`CREATE TABLE refresh_tokens (
			hash BYTEA PRIMARY KEY,
			grant_id TEXT COLLATE "C" NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			created_at BIGINT NOT NULL,
			expires_at BIGINT NOT NULL,
			first_used_at BIGINT NOT NULL,
			successor_hash BYTEA,
			successor_sealed BYTEA,
			generation BIGINT NOT NULL DEFAULT 0
		)`,
		`CREATE INDEX refresh_tokens_by_grant ON refresh_tokens (grant_id)`,
		`CREATE TABLE access_tokens (
			hash BYTEA PRIMARY KEY,
			grant_id TEXT COLLATE "C" NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			refresh_hash BYTEA NOT NULL,
			expires_at BIGINT NOT NULL
		)`,
		`CREATE INDEX access_tokens_by_grant ON access_tokens (grant_id)`,
		`CREATE TABLE leases (
			name TEXT COLLATE "C" PRIMARY KEY,
			holder TEXT COLLATE "C" NOT NULL,
			expires_at BIGINT NOT NULL
		)`,
		`CREATE TABLE sessions (
			id TEXT COLLATE "C" PRIMARY KEY,
			unit_id TEXT COLLATE "C" NOT NULL,
			user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
			client_id TEXT COLLATE "C" NOT NULL REFERENCES clients (id),
			grant_id TEXT COLLATE "C" NOT NULL REFERENCES grants (id),
			protocol TEXT COLLATE "C" NOT NULL,
			initialize TEXT COLLATE "C" NOT NULL,
			created_at BIGINT NOT NULL,
			last_used_at BIGINT NOT NULL,
			read_only BOOLEAN NOT NULL DEFAULT FALSE,
			kind TEXT COLLATE "C" NOT NULL DEFAULT 'client',
			epoch BIGINT NOT NULL DEFAULT 0,
			log_level TEXT COLLATE "C" NOT NULL DEFAULT '',
			server TEXT COLLATE "C" NOT NULL DEFAULT '',
			view_read_only BOOLEAN NOT NULL DEFAULT FALSE
		)`,
		`CREATE UNIQUE INDEX sessions_by_unit ON sessions (unit_id) WHERE unit_id <> ''`,
		`CREATE INDEX sessions_by_grant ON sessions (grant_id)`,
		`CREATE INDEX sessions_by_client ON sessions (client_id)`,
		`CREATE INDEX sessions_by_user ON sessions (user_id)`,
		`CREATE INDEX sessions_by_age ON sessions (created_at)`,
		`CREATE UNIQUE INDEX sessions_shared ON sessions (grant_id, read_only) WHERE kind = 'shared'`,
		`CREATE TABLE session_states (
			session_id TEXT COLLATE "C" PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
			unit_id TEXT COLLATE "C" NOT NULL,
			sealed BYTEA NOT NULL
		)`,
		`CREATE TABLE assertions (
			hash BYTEA PRIMARY KEY,
			expires_at BIGINT NOT NULL
		)`,
		`CREATE TABLE account_sessions (
			hash BYTEA PRIMARY KEY,
			user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
			idle_at BIGINT NOT NULL,
			expires_at BIGINT NOT NULL
		)`,
		`CREATE TABLE canary (id BIGINT PRIMARY KEY CHECK (id = 1), sealed BYTEA NOT NULL)`,
		`CREATE TABLE blocks (
			subject TEXT COLLATE "C" PRIMARY KEY,
			blocked_at BIGINT NOT NULL,
			blocked_by TEXT COLLATE "C" NOT NULL
		)`,
		`CREATE TABLE device_requests (
			id TEXT COLLATE "C" PRIMARY KEY,
			hash BYTEA NOT NULL UNIQUE,
			user_hash BYTEA NOT NULL UNIQUE,
			client_id TEXT COLLATE "C" NOT NULL,
			requested TEXT COLLATE "C" NOT NULL,
			resource TEXT COLLATE "C" NOT NULL,
			address TEXT COLLATE "C" NOT NULL,
			created_at BIGINT NOT NULL,
			expires_at BIGINT NOT NULL,
			interval BIGINT NOT NULL,
			polled_at BIGINT NOT NULL,
			denied_at BIGINT NOT NULL,
			grant_id TEXT COLLATE "C" NOT NULL,
			used_at BIGINT NOT NULL
		)`,
		`CREATE INDEX device_requests_by_grant ON device_requests (grant_id) WHERE grant_id <> ''`,
		`CREATE TABLE restores (
			id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
			restored_at BIGINT NOT NULL,
			operator TEXT COLLATE "C" NOT NULL,
			outcome TEXT COLLATE "C" NOT NULL,
			detail TEXT COLLATE "C" NOT NULL,
			told_at BIGINT NOT NULL
		)`,
		`CREATE TABLE memberships (
			user_id TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			asked_at BIGINT NOT NULL,
			administrator BOOLEAN NOT NULL,
			organizations TEXT COLLATE "C",
			teams TEXT COLLATE "C"
		)`,
		`CREATE TABLE policy_names (
			kind TEXT COLLATE "C" NOT NULL,
			name TEXT COLLATE "C" NOT NULL,
			id BIGINT NOT NULL,
			PRIMARY KEY (kind, name)
		)`,
		// Not a sequence: that is read before the change it stands for is committed.
		`CREATE TABLE generation (id BIGINT PRIMARY KEY CHECK (id = 1), n BIGINT NOT NULL)`,
		`INSERT INTO generation (id, n) VALUES (1, 1)`,
		`CREATE FUNCTION grant_used() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				UPDATE grants SET used_at = NEW.last_used_at WHERE id = NEW.grant_id AND used_at < NEW.last_used_at;
				RETURN NULL;
			END $$`,
		`CREATE TRIGGER grant_used AFTER INSERT OR UPDATE OF last_used_at ON sessions FOR EACH ROW EXECUTE FUNCTION grant_used()`,
		// The lock has a login that ends and a block wait for each other.
		`CREATE FUNCTION refuse_blocked() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				PERFORM 1 FROM users WHERE id = NEW.user_id FOR NO KEY UPDATE;
				IF EXISTS (SELECT 1 FROM blocks b JOIN users u ON u.subject = b.subject WHERE u.id = NEW.user_id) THEN
					RAISE EXCEPTION '` + UserBlocked + `';
				END IF;
				RETURN NEW;
			END $$`,
		`CREATE TRIGGER grants_of_blocked BEFORE INSERT ON grants FOR EACH ROW EXECUTE FUNCTION refuse_blocked()`,
		`CREATE TRIGGER account_sessions_of_blocked BEFORE INSERT ON account_sessions FOR EACH ROW EXECUTE FUNCTION refuse_blocked()`,
		`CREATE TRIGGER forgejo_tokens_of_blocked BEFORE INSERT ON forgejo_tokens FOR EACH ROW EXECUTE FUNCTION refuse_blocked()`,
	},
		raisedBy("grants", "UPDATE", "n.revoked_at <> o.revoked_at OR n.scope <> o.scope OR n.ceiling <> o.ceiling"),
		raisedBy("users", "UPDATE", "n.name <> o.name"),
		raisedBy("clients", "UPDATE", "n.name <> o.name"),
		raisedBy("forgejo_tokens", "UPDATE", "n.withheld <> o.withheld"),
		raisedBy("forgejo_tokens", "DELETE", ""),
		raisedBy("access_tokens", "DELETE", ""),
	)...)},
}

// raisedBy is the trigger by which a statement on a table raises the generation once,
// however many rows it has changed so (o before, n after).
func raisedBy(table, statement, changed string) []string {
	name := table + "_" + statement + "_raises"
	tables, rows := "OLD TABLE AS o", "SELECT 1 FROM o"
	if changed != "" {
		key := map[string]string{"forgejo_tokens": "user_id"}[table]
		if key == "" {
			key = "id"
		}
		tables, rows = "OLD TABLE AS o NEW TABLE AS n", "SELECT 1 FROM n JOIN o USING ("+key+") WHERE "+changed
	}
	return []string{
		`CREATE FUNCTION ` + name + `() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				IF EXISTS (` + rows + `) THEN
					UPDATE generation SET n = n + 1;
				END IF;
				RETURN NULL;
			END $$`,
		`CREATE TRIGGER ` + name + ` AFTER ` + statement + ` ON ` + table + `
			REFERENCING ` + tables + ` FOR EACH STATEMENT EXECUTE FUNCTION ` + name + `()`,
	}
}

// migrating is the key of the advisory lock that one process at a time holds: "fjmcp" in
// ASCII.
const migrating = 0x666a6d6370

// one has one process at a time bring the tables up to date. Which of them does, nothing
// depends on: the transaction sees what those before it have committed.
func one(tx *gorm.DB) error {
	return tx.Exec("SELECT pg_advisory_xact_lock(?)", int64(migrating)).Error
}

// options of the transaction: who waits for the lock must see what was done meanwhile.
func options(db *gorm.DB) []*sql.TxOptions {
	if isPostgres(db) {
		return []*sql.TxOptions{{Isolation: sql.LevelReadCommitted}}
	}
	return nil
}
