-- A database of fjmcp 0.4.0, made with the store key of 32 k.
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
CREATE TABLE clients (
			id TEXT PRIMARY KEY,
			name TEXT NOT NULL,
			secret_hash BLOB,
			auth_method TEXT NOT NULL,
			redirect_uris TEXT NOT NULL,
			created_at INTEGER NOT NULL
		, kind TEXT NOT NULL DEFAULT 'registered', jwks TEXT NOT NULL DEFAULT '', jwks_uri TEXT NOT NULL DEFAULT '', signing_alg TEXT NOT NULL DEFAULT '', allow_none INTEGER NOT NULL DEFAULT 0, introspect INTEGER NOT NULL DEFAULT 0, deleted_at INTEGER NOT NULL DEFAULT 0, grant_types TEXT) STRICT;
INSERT INTO clients VALUES('6gid2tlowioouq5x7tezihjmx5','test client',NULL,'none','["http://127.0.0.1/callback"]',1796095806368,'registered','','','',0,0,0,NULL);
CREATE TABLE users (
			id TEXT PRIMARY KEY,
			forge TEXT NOT NULL,
			subject TEXT NOT NULL,
			name TEXT NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,
			UNIQUE (forge, subject)
		) STRICT;
INSERT INTO users VALUES('i67jph5sant3xaxms5rmfrayxk','https://forge.example','sub-alice','alice',0);
CREATE TABLE forgejo_tokens (
			user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			sealed BLOB NOT NULL,
			expires_at INTEGER NOT NULL,
			scope TEXT NOT NULL,
			updated_at INTEGER NOT NULL
		, withheld INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO forgejo_tokens VALUES('i67jph5sant3xaxms5rmfrayxk',X'01f39035d4c05808b8a7819dd1ff6c37ad806dd9d0ab5df0abc8e3faeba90769e0474b322091590b7c55c77c9aa8126ced7c419480e195c7d2c75cdb073febd40534bdb627f1448db805a1fc198bea4b82e48895c7',1796099406368,'',1796095806391,0);
CREATE TABLE grants (
			id TEXT PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id),
			client_id TEXT NOT NULL REFERENCES clients (id),
			scope TEXT NOT NULL,
			resource TEXT NOT NULL,
			created_at INTEGER NOT NULL,
			redeemed_at INTEGER NOT NULL,
			revoked_at INTEGER NOT NULL
		, redirect_uri TEXT NOT NULL DEFAULT '', used_at INTEGER NOT NULL DEFAULT 0, requested TEXT NOT NULL DEFAULT 'forgejo:read forgejo:write', secret_hash BLOB, narrowed INTEGER NOT NULL DEFAULT 0, restored INTEGER NOT NULL DEFAULT 0, least_generation INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO grants VALUES('y4ue3ehg544ahy22ejbqbdugds','i67jph5sant3xaxms5rmfrayxk','6gid2tlowioouq5x7tezihjmx5','forgejo:read forgejo:write','',1796095806368,1796095806393,0,'',1796095806368,'',NULL,0,0,0);
CREATE TABLE codes (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			redirect_uri TEXT NOT NULL,
			challenge TEXT NOT NULL,
			expires_at INTEGER NOT NULL,
			used_at INTEGER NOT NULL
		) STRICT;
INSERT INTO codes VALUES(X'0439b553281e7e77894e70ae02f56c95d7e1c88aca0f88ec89680f7939603071','y4ue3ehg544ahy22ejbqbdugds','','',1796095866368,1796095806393);
CREATE TABLE refresh_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			created_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL,
			first_used_at INTEGER NOT NULL,
			successor_hash BLOB,
			successor_sealed BLOB
		, generation INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO refresh_tokens VALUES(X'2f7d276226cd691aacb76adeb54c1b613adf61bab58ce09c44eb143f27dac614','y4ue3ehg544ahy22ejbqbdugds',1796095806393,1796182206368,0,NULL,NULL,1);
CREATE TABLE access_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			refresh_hash BLOB NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO access_tokens VALUES(X'fc4740987f8c24841d00d6bc232dea9d9f17ac724859a1778be5cd25fcdba017','y4ue3ehg544ahy22ejbqbdugds',X'2f7d276226cd691aacb76adeb54c1b613adf61bab58ce09c44eb143f27dac614',1796099406368);
CREATE TABLE leases (
			name TEXT PRIMARY KEY,
			holder TEXT NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO leases VALUES('lease','holder',1796099406390);
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
		, read_only INTEGER NOT NULL DEFAULT 0, kind TEXT NOT NULL DEFAULT 'client', epoch INTEGER NOT NULL DEFAULT 0, log_level TEXT NOT NULL DEFAULT '', server TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO sessions VALUES('j57k74barqgw4svwcah7ijggy5','unit','i67jph5sant3xaxms5rmfrayxk','6gid2tlowioouq5x7tezihjmx5','y4ue3ehg544ahy22ejbqbdugds','','',1796095806368,0,0,'client',0,'','');
CREATE TABLE assertions (
			hash BLOB PRIMARY KEY,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO assertions VALUES(X'7c5b1d49e6875fd887fd522123c4b34169d4cc11a6502cc04cb7eb8f7c166972',1796099406368);
CREATE TABLE generation (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL) STRICT;
INSERT INTO generation VALUES(1,2);
CREATE TABLE account_sessions (
			hash BLOB PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
			idle_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO account_sessions VALUES(X'9af211329b2fc82e5efe906062c730082819b23fe8394bc435e0b1bf0458eb54','i67jph5sant3xaxms5rmfrayxk',0,1796099406368);
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
INSERT INTO logins VALUES(X'4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e',X'd4c3e8a11256ab82a4fc72560eb4a2b0e87bad820c290dd9b03616de240aa6db','6gid2tlowioouq5x7tezihjmx5','','','','','',X'01f39035d455f7213d77d9234767fb0e2e7d02959d6b4181a6fe3f568d830a9180',1796095866368,0,X'01f39035d4e1b62d6429aaf4fc2062606e792f4fe9e0356c95156a73ace39048df481cc0d0d21f44eab258c23e920b6b525acd2a5e6f7539f4ce877e5f68d72f777e33424962ddff9f4f519b8d111f0fab02a0d1e0d4059aeb02764a88f9c464b70e0dd260c8bca04e55af890dbbef9cd59145d6f8688ed0b3928e51c85ef8d6d0e38021','',1,'');
CREATE TABLE session_states (
			session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
			unit_id TEXT NOT NULL,
			sealed BLOB NOT NULL
		) STRICT;
INSERT INTO session_states VALUES('j57k74barqgw4svwcah7ijggy5','unit',X'01f39035d43f2d9ca0e79238efd0f75012c0e2547de668ef4d71d0527532dd50af3aef');
CREATE TABLE canary (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;
INSERT INTO canary VALUES(1,X'01f39035d45441e8e5946d1f6687465cb651fbf22c3ba375640cead118f542b73e');
CREATE TABLE blocks (
			subject TEXT PRIMARY KEY,
			blocked_at INTEGER NOT NULL,
			blocked_by TEXT NOT NULL
		) STRICT;
INSERT INTO blocks VALUES('17',1796095806395,'root (uid 0)');
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
INSERT INTO device_requests VALUES('ft6lwntpehxrnqjpzhcslz5fcy',X'030248d797725762fcfcadd8e0c074a04036fd678e4211f1d93102c47b934ad4',X'd8af761404f94fd2de52e6311c3991e1b1268d422a31d11d5cfafa5fea066274','6gid2tlowioouq5x7tezihjmx5','','','',1796095806368,1796095866368,0,0,0,'',0);
CREATE TABLE restores (
			id INTEGER PRIMARY KEY,
			restored_at INTEGER NOT NULL,
			operator TEXT NOT NULL,
			outcome TEXT NOT NULL,
			detail TEXT NOT NULL,
			told_at INTEGER NOT NULL
		) STRICT;
INSERT INTO restores VALUES(1,1796095806390,'','ok','',0);
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
CREATE UNIQUE INDEX users_by_name ON users (forge, name COLLATE NOCASE) WHERE name <> '';
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
COMMIT;
