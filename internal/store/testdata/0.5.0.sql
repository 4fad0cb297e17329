-- A database of fjmcp 0.5.0, made with the store key of 32 k.
BEGIN TRANSACTION;
CREATE TABLE `migrations` (`id` text,PRIMARY KEY (`id`));
INSERT INTO migrations VALUES('0001_base');
INSERT INTO migrations VALUES('0002_client_kinds');
INSERT INTO migrations VALUES('0003_generation');
INSERT INTO migrations VALUES('0004_login_set');
INSERT INTO migrations VALUES('0005_account');
INSERT INTO migrations VALUES('0006_read_only');
INSERT INTO migrations VALUES('0007_shared_sessions');
INSERT INTO migrations VALUES('0008_resume');
INSERT INTO migrations VALUES('0009_sessions_by_age');
INSERT INTO migrations VALUES('0010_sealed_clients');
INSERT INTO migrations VALUES('0011_canary');
INSERT INTO migrations VALUES('0012_client_names');
INSERT INTO migrations VALUES('0013_user_names');
INSERT INTO migrations VALUES('0014_grant_narrowed');
INSERT INTO migrations VALUES('0015_blocks');
INSERT INTO migrations VALUES('0016_device_requests');
INSERT INTO migrations VALUES('0017_restore');
INSERT INTO migrations VALUES('0018_policy');
INSERT INTO migrations VALUES('0020_named_at');
INSERT INTO migrations VALUES('0021_folded_names');
CREATE TABLE clients (
			id TEXT PRIMARY KEY,
			name TEXT NOT NULL,
			secret_hash BLOB,
			auth_method TEXT NOT NULL,
			redirect_uris TEXT NOT NULL,
			created_at INTEGER NOT NULL
		, kind TEXT NOT NULL DEFAULT 'registered', jwks TEXT NOT NULL DEFAULT '', jwks_uri TEXT NOT NULL DEFAULT '', signing_alg TEXT NOT NULL DEFAULT '', allow_none INTEGER NOT NULL DEFAULT 0, introspect INTEGER NOT NULL DEFAULT 0, deleted_at INTEGER NOT NULL DEFAULT 0, grant_types TEXT) STRICT;
INSERT INTO clients VALUES('s6mnl7fy3oumxklhibsmhxg2cn','test client',NULL,'none','["http://127.0.0.1/callback"]',1796132335016,'registered','','','',0,0,0,NULL);
CREATE TABLE users (
			id TEXT PRIMARY KEY,
			forge TEXT NOT NULL,
			subject TEXT NOT NULL,
			name TEXT NOT NULL, revoked INTEGER NOT NULL DEFAULT 0, named_at INTEGER NOT NULL DEFAULT 0,
			UNIQUE (forge, subject)
		) STRICT;
INSERT INTO users VALUES('lylilxsz7cnyx5mufjylakgk5u','https://forge.example','sub-alice','alice',0,1796132335067);
CREATE TABLE forgejo_tokens (
			user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			sealed BLOB NOT NULL,
			expires_at INTEGER NOT NULL,
			scope TEXT NOT NULL,
			updated_at INTEGER NOT NULL
		, withheld INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO forgejo_tokens VALUES('lylilxsz7cnyx5mufjylakgk5u',X'01f39035d49793197761e84a9c333f29e7a0438f6896522714050352e1942d7ae5a746d4738c2dd78d0a79821540a5883e1aefb6ea52a7c6180b5a4ace30a842cd17ca22d4639d0c9d90189f47ce9923af6c298cc7',1796135935016,'',1796132335069,0);
CREATE TABLE grants (
			id TEXT PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id),
			client_id TEXT NOT NULL REFERENCES clients (id),
			scope TEXT NOT NULL,
			resource TEXT NOT NULL,
			created_at INTEGER NOT NULL,
			redeemed_at INTEGER NOT NULL,
			revoked_at INTEGER NOT NULL
		, redirect_uri TEXT NOT NULL DEFAULT '', used_at INTEGER NOT NULL DEFAULT 0, requested TEXT NOT NULL DEFAULT 'forgejo:read forgejo:write', secret_hash BLOB, narrowed INTEGER NOT NULL DEFAULT 0, restored INTEGER NOT NULL DEFAULT 0, least_generation INTEGER NOT NULL DEFAULT 0, ceiling TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO grants VALUES('5hzxb7reug7vyx2huiwd4dcwir','lylilxsz7cnyx5mufjylakgk5u','s6mnl7fy3oumxklhibsmhxg2cn','forgejo:read forgejo:write','',1796132335016,1796132335073,0,'',1796132335016,'',NULL,0,0,0,'');
CREATE TABLE codes (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			redirect_uri TEXT NOT NULL,
			challenge TEXT NOT NULL,
			expires_at INTEGER NOT NULL,
			used_at INTEGER NOT NULL
		) STRICT;
INSERT INTO codes VALUES(X'1e67cdc2a5972b2cc338584c81a670bdbd4743c775188cf078515121350cff30','5hzxb7reug7vyx2huiwd4dcwir','','',1796132395016,1796132335073);
CREATE TABLE refresh_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			created_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL,
			first_used_at INTEGER NOT NULL,
			successor_hash BLOB,
			successor_sealed BLOB
		, generation INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO refresh_tokens VALUES(X'ade7c3fa7eb7981a12ad8386e3fa3e290d5333733274d6c15fd0079ab98fe952','5hzxb7reug7vyx2huiwd4dcwir',1796132335073,1796218735016,0,NULL,NULL,1);
CREATE TABLE access_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			refresh_hash BLOB NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO access_tokens VALUES(X'893819470eb1253dd972b7888bccdf9401d5a73199037c76637192e9b3fff4ce','5hzxb7reug7vyx2huiwd4dcwir',X'ade7c3fa7eb7981a12ad8386e3fa3e290d5333733274d6c15fd0079ab98fe952',1796135935016);
CREATE TABLE leases (
			name TEXT PRIMARY KEY,
			holder TEXT NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO leases VALUES('lease','holder',1796135935065);
CREATE TABLE sessions (
			id TEXT PRIMARY KEY,
			unit_id TEXT NOT NULL,
			user_id TEXT NOT NULL REFERENCES users (id),
			client_id TEXT NOT NULL REFERENCES clients (id),
			grant_id TEXT NOT NULL REFERENCES grants (id),
			protocol TEXT NOT NULL,
			initialize TEXT NOT NULL,
			created_at INTEGER NOT NULL,
			last_used_at INTEGER NOT NULL
		, read_only INTEGER NOT NULL DEFAULT 0, kind TEXT NOT NULL DEFAULT 'client', epoch INTEGER NOT NULL DEFAULT 0, log_level TEXT NOT NULL DEFAULT '', server TEXT NOT NULL DEFAULT '', view_read_only INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO sessions VALUES('zixxlvcfm3xi2vjzdjx54lkap6','unit','lylilxsz7cnyx5mufjylakgk5u','s6mnl7fy3oumxklhibsmhxg2cn','5hzxb7reug7vyx2huiwd4dcwir','','',1796132335016,0,0,'client',0,'','',0);
CREATE TABLE assertions (
			hash BLOB PRIMARY KEY,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO assertions VALUES(X'7c5b1d49e6875fd887fd522123c4b34169d4cc11a6502cc04cb7eb8f7c166972',1796135935016);
CREATE TABLE generation (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL) STRICT;
INSERT INTO generation VALUES(1,2);
CREATE TABLE account_sessions (
			hash BLOB PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
			idle_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO account_sessions VALUES(X'9af211329b2fc82e5efe906062c730082819b23fe8394bc435e0b1bf0458eb54','lylilxsz7cnyx5mufjylakgk5u',0,1796135935016);
CREATE TABLE IF NOT EXISTS "logins" (
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
		, requested TEXT NOT NULL DEFAULT 'forgejo:read forgejo:write', begun INTEGER NOT NULL DEFAULT 0, device_id TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO logins VALUES(X'4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e',X'd4c3e8a11256ab82a4fc72560eb4a2b0e87bad820c290dd9b03616de240aa6db','s6mnl7fy3oumxklhibsmhxg2cn','','','','','',X'01f39035d49cf502f791fd4ce4a2ca0488eee67b3110b594e7c0ced63851a7197b',1796132395016,0,X'01f39035d4b88dba5da4de432239fe1939c16ce1937c0e5cfb118049b656ea0faa21245e22f55b277419b23a4303321ff90333152542445c842a439081ca4778f92e2af1b5d5047cc0acf732893ee8a676692de77c68fe0c729af50bf4027f6be5d2e3c8fd7a0998ae5d48b5ee0df34c95d8545b9760a1fdc53b0064465ac21bd20d13a0','',1,'');
CREATE TABLE session_states (
			session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
			unit_id TEXT NOT NULL,
			sealed BLOB NOT NULL
		) STRICT;
INSERT INTO session_states VALUES('zixxlvcfm3xi2vjzdjx54lkap6','unit',X'01f39035d41ddb6667f049c0bd5868d6549e4fff444460121a39f07077b54af9a8aae5');
CREATE TABLE canary (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;
INSERT INTO canary VALUES(1,X'01f39035d4db40acb00513ada60fd8088caf0ce7a56d250695b71f5da2d8b6180a');
CREATE TABLE blocks (
			subject TEXT PRIMARY KEY,
			blocked_at INTEGER NOT NULL,
			blocked_by TEXT NOT NULL
		) STRICT;
INSERT INTO blocks VALUES('17',1796132335078,'root (uid 0)');
CREATE TABLE device_requests (
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
		) STRICT;
INSERT INTO device_requests VALUES('2ifpzksu2vcecnomuyavb2px6a',X'030248d797725762fcfcadd8e0c074a04036fd678e4211f1d93102c47b934ad4',X'd8af761404f94fd2de52e6311c3991e1b1268d422a31d11d5cfafa5fea066274','s6mnl7fy3oumxklhibsmhxg2cn','','','',1796132335016,1796132395016,0,0,0,'',0);
CREATE TABLE restores (
			id INTEGER PRIMARY KEY,
			restored_at INTEGER NOT NULL,
			operator TEXT NOT NULL,
			outcome TEXT NOT NULL,
			detail TEXT NOT NULL,
			told_at INTEGER NOT NULL
		) STRICT;
INSERT INTO restores VALUES(1,1796132335065,'','ok','',0);
CREATE TABLE memberships (
			user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			asked_at INTEGER NOT NULL,
			administrator INTEGER NOT NULL,
			organizations TEXT,
			teams TEXT
		) STRICT;
INSERT INTO memberships VALUES('lylilxsz7cnyx5mufjylakgk5u',1796132335016,0,'[{"id":12,"name":"acme"}]',NULL);
CREATE TABLE policy_names (
			kind TEXT NOT NULL,
			name TEXT NOT NULL,
			id INTEGER NOT NULL,
			PRIMARY KEY (kind, name)
		) STRICT;
INSERT INTO policy_names VALUES('user','alice',7);
CREATE INDEX grants_by_user ON grants (user_id);
CREATE INDEX grants_by_client ON grants (client_id);
CREATE INDEX codes_by_grant ON codes (grant_id);
CREATE INDEX refresh_tokens_by_grant ON refresh_tokens (grant_id);
CREATE INDEX access_tokens_by_grant ON access_tokens (grant_id);
CREATE UNIQUE INDEX sessions_by_unit ON sessions (unit_id) WHERE unit_id <> '';
CREATE INDEX sessions_by_grant ON sessions (grant_id);
CREATE INDEX sessions_by_client ON sessions (client_id);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE TRIGGER grant_revoked AFTER UPDATE OF revoked_at ON grants WHEN NEW.revoked_at <> OLD.revoked_at
			BEGIN UPDATE generation SET n = n + 1; END;
CREATE TRIGGER access_token_gone AFTER DELETE ON access_tokens
			BEGIN UPDATE generation SET n = n + 1; END;
CREATE TRIGGER forgejo_tokens_gone AFTER DELETE ON forgejo_tokens
			BEGIN UPDATE generation SET n = n + 1; END;
CREATE TRIGGER forgejo_tokens_withheld AFTER UPDATE OF withheld ON forgejo_tokens WHEN NEW.withheld <> OLD.withheld
			BEGIN UPDATE generation SET n = n + 1; END;
CREATE TRIGGER user_renamed AFTER UPDATE OF name ON users WHEN NEW.name <> OLD.name
			BEGIN UPDATE generation SET n = n + 1; END;
CREATE TRIGGER client_renamed AFTER UPDATE OF name ON clients WHEN NEW.name <> OLD.name
			BEGIN UPDATE generation SET n = n + 1; END;
CREATE TRIGGER grant_used_first AFTER INSERT ON sessions
			BEGIN UPDATE grants SET used_at = MAX(used_at, NEW.last_used_at) WHERE id = NEW.grant_id; END;
CREATE TRIGGER grant_used AFTER UPDATE OF last_used_at ON sessions
			BEGIN UPDATE grants SET used_at = MAX(used_at, NEW.last_used_at) WHERE id = NEW.grant_id; END;
CREATE INDEX logins_by_client ON logins (client_id);
CREATE UNIQUE INDEX sessions_shared ON sessions (grant_id, read_only) WHERE kind = 'shared';
CREATE INDEX sessions_by_age ON sessions (created_at);
CREATE TRIGGER grant_narrowed AFTER UPDATE OF scope ON grants WHEN NEW.scope <> OLD.scope
			BEGIN UPDATE generation SET n = n + 1; END;
CREATE INDEX users_by_subject ON users (subject);
CREATE TRIGGER grants_of_blocked BEFORE INSERT ON grants
		WHEN EXISTS (SELECT 1 FROM blocks b JOIN users u ON u.subject = b.subject WHERE u.id = NEW.user_id)
		BEGIN SELECT RAISE(ABORT, 'the user is blocked'); END;
CREATE TRIGGER account_sessions_of_blocked BEFORE INSERT ON account_sessions
		WHEN EXISTS (SELECT 1 FROM blocks b JOIN users u ON u.subject = b.subject WHERE u.id = NEW.user_id)
		BEGIN SELECT RAISE(ABORT, 'the user is blocked'); END;
CREATE TRIGGER forgejo_tokens_of_blocked BEFORE INSERT ON forgejo_tokens
		WHEN EXISTS (SELECT 1 FROM blocks b JOIN users u ON u.subject = b.subject WHERE u.id = NEW.user_id)
		BEGIN SELECT RAISE(ABORT, 'the user is blocked'); END;
CREATE INDEX device_requests_by_grant ON device_requests (grant_id) WHERE grant_id <> '';
CREATE TRIGGER grant_ceiling AFTER UPDATE OF ceiling ON grants WHEN NEW.ceiling <> OLD.ceiling
			BEGIN UPDATE generation SET n = n + 1; END;
CREATE UNIQUE INDEX users_by_name ON users (forge, lower(name)) WHERE name <> '';
COMMIT;
