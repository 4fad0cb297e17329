-- A database of fjmcp 0.3.0, made with the store key of 32 k.
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
CREATE TABLE clients (
			id TEXT PRIMARY KEY,
			name TEXT NOT NULL,
			secret_hash BLOB,
			auth_method TEXT NOT NULL,
			redirect_uris TEXT NOT NULL,
			created_at INTEGER NOT NULL
		, kind TEXT NOT NULL DEFAULT 'registered', jwks TEXT NOT NULL DEFAULT '', jwks_uri TEXT NOT NULL DEFAULT '', signing_alg TEXT NOT NULL DEFAULT '', allow_none INTEGER NOT NULL DEFAULT 0, introspect INTEGER NOT NULL DEFAULT 0, deleted_at INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO clients VALUES('kpevkmmaomyibns2iq3mcmveut','test client',NULL,'none','["http://127.0.0.1/callback"]',1796081580144,'registered','','','',0,0,0);
CREATE TABLE users (
			id TEXT PRIMARY KEY,
			forge TEXT NOT NULL,
			subject TEXT NOT NULL,
			name TEXT NOT NULL,
			UNIQUE (forge, subject)
		) STRICT;
INSERT INTO users VALUES('nqxgpmsxlyf7o6yemfvg3bzjqx','https://forge.example','sub-alice','alice');
CREATE TABLE forgejo_tokens (
			user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			sealed BLOB NOT NULL,
			expires_at INTEGER NOT NULL,
			scope TEXT NOT NULL,
			updated_at INTEGER NOT NULL
		, withheld INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO forgejo_tokens VALUES('nqxgpmsxlyf7o6yemfvg3bzjqx',X'01f39035d4c9f3bc9a594ac281213a19dfd04dac0dc70bb3adfead3d4eb65f145b0ffff2f403ad1ec0410bbf42548346808c9c3a7b73a61f1b2498fb5f0faf08ed78537e2991e0449b27cea6066b6b6d472174fb97',1796085180144,'',1796081580656,0);
CREATE TABLE grants (
			id TEXT PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id),
			client_id TEXT NOT NULL REFERENCES clients (id),
			scope TEXT NOT NULL,
			resource TEXT NOT NULL,
			created_at INTEGER NOT NULL,
			redeemed_at INTEGER NOT NULL,
			revoked_at INTEGER NOT NULL
		, redirect_uri TEXT NOT NULL DEFAULT '', used_at INTEGER NOT NULL DEFAULT 0, requested TEXT NOT NULL DEFAULT 'forgejo:read forgejo:write', secret_hash BLOB, narrowed INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO grants VALUES('6recf7nlbnrpgwpzbtiizzrlmm','nqxgpmsxlyf7o6yemfvg3bzjqx','kpevkmmaomyibns2iq3mcmveut','forgejo:read forgejo:write','',1796081580144,1796081580695,0,'',1796081580144,'',NULL,0);
CREATE TABLE codes (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			redirect_uri TEXT NOT NULL,
			challenge TEXT NOT NULL,
			expires_at INTEGER NOT NULL,
			used_at INTEGER NOT NULL
		) STRICT;
INSERT INTO codes VALUES(X'7c6d75cc27f6ad78a3b6e5cad87175c78bbd2895e73ce8713de03bab8fa242e9','6recf7nlbnrpgwpzbtiizzrlmm','','',1796081640144,1796081580695);
CREATE TABLE refresh_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			created_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL,
			first_used_at INTEGER NOT NULL,
			successor_hash BLOB,
			successor_sealed BLOB
		) STRICT;
INSERT INTO refresh_tokens VALUES(X'3b3d8d956652858be25f0623bd2076f5f9b65825a231c4c7ef1b40b304ee0ed5','6recf7nlbnrpgwpzbtiizzrlmm',1796081580695,1796167980144,0,NULL,NULL);
CREATE TABLE access_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			refresh_hash BLOB NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO access_tokens VALUES(X'1ff8d969bdb39c08caa47af6d74515e6c46e05da47168a4e4f52a881295812b5','6recf7nlbnrpgwpzbtiizzrlmm',X'3b3d8d956652858be25f0623bd2076f5f9b65825a231c4c7ef1b40b304ee0ed5',1796085180144);
CREATE TABLE leases (
			name TEXT PRIMARY KEY,
			holder TEXT NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO leases VALUES('lease','holder',1796085180631);
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
INSERT INTO sessions VALUES('2umigdqqqlz4b7hpsusyop2gsp','unit','nqxgpmsxlyf7o6yemfvg3bzjqx','kpevkmmaomyibns2iq3mcmveut','6recf7nlbnrpgwpzbtiizzrlmm','','',1796081580144,0,0,'client',0,'','');
CREATE TABLE assertions (
			hash BLOB PRIMARY KEY,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO assertions VALUES(X'7c5b1d49e6875fd887fd522123c4b34169d4cc11a6502cc04cb7eb8f7c166972',1796085180144);
CREATE TABLE generation (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL) STRICT;
INSERT INTO generation VALUES(1,1);
CREATE TABLE account_sessions (
			hash BLOB PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
			idle_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO account_sessions VALUES(X'9af211329b2fc82e5efe906062c730082819b23fe8394bc435e0b1bf0458eb54','nqxgpmsxlyf7o6yemfvg3bzjqx',0,1796085180144);
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
		, requested TEXT NOT NULL DEFAULT 'forgejo:read forgejo:write') STRICT;
INSERT INTO logins VALUES(X'4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e',X'd4c3e8a11256ab82a4fc72560eb4a2b0e87bad820c290dd9b03616de240aa6db','kpevkmmaomyibns2iq3mcmveut','','','','','',X'01f39035d431926bdbda804f234ff13300e6ad5caf8208764529f5868c51280cbe',1796081640144,0,X'01f39035d41dd1b34572d413857893d579e2e9edb668ff882c15c76fd711bb1fc7936924f7d0195c221ec1035c7fbe13f66a5f373b5c5b1388f6156b9f8222f8cdcfa37373dfbfcaf264816dde42b49d0009a1e5b3f91cfa54ef043f4251237b8b5d08919a6b520ad1668cee372a88a43a395c381937306f161aa3a354064d78ef52cb6d','');
CREATE TABLE session_states (
			session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
			unit_id TEXT NOT NULL,
			sealed BLOB NOT NULL
		) STRICT;
INSERT INTO session_states VALUES('2umigdqqqlz4b7hpsusyop2gsp','unit',X'01f39035d4447abf990b15ebb9d5667b6bb3ce04d5d7bf896f1651ed22e01c44ce625f');
CREATE TABLE canary (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;
INSERT INTO canary VALUES(1,X'01f39035d4ce301e187e58f41e2af762e959c27ce48e3d9087d46f737bdaeb4ca6');
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
COMMIT;
