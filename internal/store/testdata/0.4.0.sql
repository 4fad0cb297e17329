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
CREATE TABLE clients (
			id TEXT PRIMARY KEY,
			name TEXT NOT NULL,
			secret_hash BLOB,
			auth_method TEXT NOT NULL,
			redirect_uris TEXT NOT NULL,
			created_at INTEGER NOT NULL
		, kind TEXT NOT NULL DEFAULT 'registered', jwks TEXT NOT NULL DEFAULT '', jwks_uri TEXT NOT NULL DEFAULT '', signing_alg TEXT NOT NULL DEFAULT '', allow_none INTEGER NOT NULL DEFAULT 0, introspect INTEGER NOT NULL DEFAULT 0, deleted_at INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO clients VALUES('2y3vi7hskys4pv4exzdzmhnpt5','test client',NULL,'none','["http://127.0.0.1/callback"]',1796089675597,'registered','','','',0,0,0);
CREATE TABLE users (
			id TEXT PRIMARY KEY,
			forge TEXT NOT NULL,
			subject TEXT NOT NULL,
			name TEXT NOT NULL,
			UNIQUE (forge, subject)
		) STRICT;
INSERT INTO users VALUES('tjcxqk326crrrn3nqxclzm7lmj','https://forge.example','sub-alice','alice');
CREATE TABLE forgejo_tokens (
			user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			sealed BLOB NOT NULL,
			expires_at INTEGER NOT NULL,
			scope TEXT NOT NULL,
			updated_at INTEGER NOT NULL
		, withheld INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO forgejo_tokens VALUES('tjcxqk326crrrn3nqxclzm7lmj',X'01f39035d4fe761ce82bcbc62ba1b473b446f0af185d0f0ae48bcb65accc59b9c0b23bd65a89ec52f3daadc807f4f17177fb7554dc8ef3dc3d896e617eb60b36e12a27862a6723e418dc999e42fb2b3670112897f7',1796093275597,'',1796089675617,0);
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
INSERT INTO grants VALUES('x7m2aq7wx6vhlzgfejmxy3e55e','tjcxqk326crrrn3nqxclzm7lmj','2y3vi7hskys4pv4exzdzmhnpt5','forgejo:read forgejo:write','',1796089675597,1796089675619,0,'',1796089675597,'',NULL,0);
CREATE TABLE codes (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			redirect_uri TEXT NOT NULL,
			challenge TEXT NOT NULL,
			expires_at INTEGER NOT NULL,
			used_at INTEGER NOT NULL
		) STRICT;
INSERT INTO codes VALUES(X'ed0105c4908ac549b5456f10425c21863ff5dfea31ac46bd3fa2f5659f58f728','x7m2aq7wx6vhlzgfejmxy3e55e','','',1796089735597,1796089675619);
CREATE TABLE refresh_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			created_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL,
			first_used_at INTEGER NOT NULL,
			successor_hash BLOB,
			successor_sealed BLOB
		) STRICT;
INSERT INTO refresh_tokens VALUES(X'91d24df8b5c4280437a6a39feaba87258eed59ce50bb0e5e5ccfea96132fdafd','x7m2aq7wx6vhlzgfejmxy3e55e',1796089675619,1796176075597,0,NULL,NULL);
CREATE TABLE access_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			refresh_hash BLOB NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO access_tokens VALUES(X'1e99bfaaf01ce165af27853f0a327f510f715e323f270ecf26ea1bddc0ca7e30','x7m2aq7wx6vhlzgfejmxy3e55e',X'91d24df8b5c4280437a6a39feaba87258eed59ce50bb0e5e5ccfea96132fdafd',1796093275597);
CREATE TABLE leases (
			name TEXT PRIMARY KEY,
			holder TEXT NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO leases VALUES('lease','holder',1796093275616);
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
INSERT INTO sessions VALUES('ivfoqtbhqdoas67crp5d54xgj5','unit','tjcxqk326crrrn3nqxclzm7lmj','2y3vi7hskys4pv4exzdzmhnpt5','x7m2aq7wx6vhlzgfejmxy3e55e','','',1796089675597,0,0,'client',0,'','');
CREATE TABLE assertions (
			hash BLOB PRIMARY KEY,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO assertions VALUES(X'7c5b1d49e6875fd887fd522123c4b34169d4cc11a6502cc04cb7eb8f7c166972',1796093275597);
CREATE TABLE generation (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL) STRICT;
INSERT INTO generation VALUES(1,1);
CREATE TABLE account_sessions (
			hash BLOB PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
			idle_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO account_sessions VALUES(X'9af211329b2fc82e5efe906062c730082819b23fe8394bc435e0b1bf0458eb54','tjcxqk326crrrn3nqxclzm7lmj',0,1796093275597);
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
INSERT INTO logins VALUES(X'4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e',X'd4c3e8a11256ab82a4fc72560eb4a2b0e87bad820c290dd9b03616de240aa6db','2y3vi7hskys4pv4exzdzmhnpt5','','','','','',X'01f39035d4c001f48b92b7de2976fc8692e35de4b9925dc8db22d564bb29b9a05f',1796089735597,0,X'01f39035d4c1b2fd435af3f8f8cdd730056ad10717e658d3133c0e0e7a7d67db75c67382d389d78a04063765cad89b0aae7c13adadb801555001bafa5383e3ab64589332618c8277cc9594a777421e6260fd275d26c5855b8731deb4f38d1a4ffa79135136603ad033ec7a11882a9893d075f1857ef21066151868646d0b1c86a9df525e','');
CREATE TABLE session_states (
			session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
			unit_id TEXT NOT NULL,
			sealed BLOB NOT NULL
		) STRICT;
INSERT INTO session_states VALUES('ivfoqtbhqdoas67crp5d54xgj5','unit',X'01f39035d411a7c484a6eb504a21e36d3ef915aa290ee8ad479032731b96b39b92d383');
CREATE TABLE canary (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;
INSERT INTO canary VALUES(1,X'01f39035d4d92e20a808e5a71be854246486c2b48b24a4f966f2b67349dea39bf5');
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
