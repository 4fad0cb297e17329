-- A database of fjmcp 0.2.0: clients of each kind, made with the store key of 32 k.
BEGIN TRANSACTION;
CREATE TABLE access_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			refresh_hash BLOB NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
INSERT INTO "access_tokens" VALUES(X'4CD9CAD35D511355B0349A95D1990377BB32A4082853A903F7EF767448B8C58F','grant of Public',X'486DF4EA4DBA794AC16D3C9395A40FF9B22191F67107424E6587CC81A16A2FDC',1793538000000);
INSERT INTO "access_tokens" VALUES(X'9BA43D46D4BDC08BC55D06EE67869EB9CB849108C427531D2B20577594BA69ED','grant of Secret',X'A4C61C5EACD9BEE8F8362B4CA68A8C0CAE1BDA8F8BB5DC099F9D8EAB10EC2F29',1793538000000);
INSERT INTO "access_tokens" VALUES(X'11F529C8847CAC0CDC929AD676971E46D24AC64025A620B8DB5928538B606A44','grant of Document',X'34E85016FEB529C106732CE983CD5D35F8D1C6E85FA1D30459C77057246E920D',1793538000000);
INSERT INTO "access_tokens" VALUES(X'7F1AF0E38B4F968199F289F3AD7D0270780CE32216ECA773B4884868DEE72D38','grant of Operator',X'1E5123D89171259F0A4E389D175CF5BB9711441D49F90D78AA0582D2BEB2D66B',1793538000000);
CREATE TABLE account_sessions (
			hash BLOB PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
			idle_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
CREATE TABLE assertions (
			hash BLOB PRIMARY KEY,
			expires_at INTEGER NOT NULL
		) STRICT;
CREATE TABLE clients (
			id TEXT PRIMARY KEY,
			name TEXT NOT NULL,
			secret_hash BLOB,
			auth_method TEXT NOT NULL,
			redirect_uris TEXT NOT NULL,
			grant_types TEXT NOT NULL,
			uri TEXT NOT NULL,
			created_at INTEGER NOT NULL
		, kind TEXT NOT NULL DEFAULT 'registered', jwks TEXT NOT NULL DEFAULT '', jwks_uri TEXT NOT NULL DEFAULT '', signing_alg TEXT NOT NULL DEFAULT '', allow_none INTEGER NOT NULL DEFAULT 0, introspect INTEGER NOT NULL DEFAULT 0, registration_hash BLOB, deleted_at INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "clients" VALUES('publicclientpublicclientpu','Public',NULL,'none','["https://Public.example/cb"]','["authorization_code","refresh_token"]','https://Public.example',1793534400000,'registered','','','',0,0,X'6AFC5096D14E88E0F2D90ACF8149F5F74B2F5E9269DDBD8063A84A6131153405',0);
INSERT INTO "clients" VALUES('secretclientsecretclientse','Secret',X'6A2EEBCC16DD9C270EE2EEDD65159B14DE270E7725304DA016BA5446711D639C','client_secret_post','["https://Secret.example/cb"]','["authorization_code","refresh_token"]','https://Secret.example',1793534400000,'registered','','','',0,0,X'98043BA4BB9EB7C9890899CDAAA053AE25857C646E54228B7B753FF23BC7CC5A',0);
INSERT INTO "clients" VALUES('unusedclientunusedclientun','Unused',NULL,'none','["https://Unused.example/cb"]','["authorization_code","refresh_token"]','https://Unused.example',1793534400000,'registered','','','',0,0,X'5836282220D7C65E5554FF4918BFCD3BE3AAFCBC688EE6479D7DFA44950D7FFB',0);
INSERT INTO "clients" VALUES('deletedclientdeletedclient','Deleted',NULL,'none','["https://Deleted.example/cb"]','["authorization_code","refresh_token"]','https://Deleted.example',1793534400000,'registered','','','',0,0,X'07E2C3DD28F29EFD04CEC61FD5D71C355D6AB1A2B36325388EAF4F1FEC047314',1793534400000);
INSERT INTO "clients" VALUES('https://app.example/client.json','Document',NULL,'none','["https://Document.example/cb"]','["authorization_code","refresh_token"]','https://Document.example',1793534400000,'document','','','',0,0,NULL,0);
INSERT INTO "clients" VALUES('operatorclientoperatorclie','Operator',X'EECABC53E4419BFD0725AE7E28ECC35D2B07356B89A8CAD02432248BB4CB28F7','client_secret_basic','["https://Operator.example/cb"]','["authorization_code","refresh_token"]','https://Operator.example',1793534400000,'operator','','','',0,1,NULL,0);
CREATE TABLE codes (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			redirect_uri TEXT NOT NULL,
			challenge TEXT NOT NULL,
			expires_at INTEGER NOT NULL,
			used_at INTEGER NOT NULL
		) STRICT;
INSERT INTO "codes" VALUES(X'DDF9129737D5D7FDDADCA638D007AFE84F2866A236DD869686CA362EC616B6C6','grant of Public','','',1793534460000,1793534400000);
INSERT INTO "codes" VALUES(X'AC16A2477E28BD321925E66CF1FFDC8CC1C54113D6053E1B9B891A48AEF815AF','grant of Secret','','',1793534460000,1793534400000);
INSERT INTO "codes" VALUES(X'93D38BBDB0554CC07A4174A08A7173B67FC096602EC97E5022B0100C8BBE5703','grant of Document','','',1793534460000,1793534400000);
INSERT INTO "codes" VALUES(X'A606193F6434B06BC92B3A51F3B5F47E017DA2900C3BA234B26F9234024CB629','grant of Operator','','',1793534460000,1793534400000);
CREATE TABLE forgejo_tokens (
			user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
			sealed BLOB NOT NULL,
			expires_at INTEGER NOT NULL,
			scope TEXT NOT NULL,
			updated_at INTEGER NOT NULL
		, withheld INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "forgejo_tokens" VALUES('xtpn4ufqs5kb3b2mxnpqkobs5g',X'01F39035D479DB01B7206CED0E193973776F3EBFE50124523CD06F43CB640342EDA1452AF153A06E44EAD2193AFC591D5F240AE5F5D09993FE331E46EB9BC3B3ECA6CFBBC0F8EDB6DF',1793538000000,'',1793534400000,0);
CREATE TABLE generation (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL) STRICT;
INSERT INTO "generation" VALUES(1,1);
CREATE TABLE grants (
			id TEXT PRIMARY KEY,
			user_id TEXT NOT NULL REFERENCES users (id),
			client_id TEXT NOT NULL REFERENCES clients (id),
			scope TEXT NOT NULL,
			resource TEXT NOT NULL,
			created_at INTEGER NOT NULL,
			redeemed_at INTEGER NOT NULL,
			revoked_at INTEGER NOT NULL
		, redirect_uri TEXT NOT NULL DEFAULT '', used_at INTEGER NOT NULL DEFAULT 0, requested TEXT NOT NULL DEFAULT 'forgejo:read forgejo:write') STRICT;
INSERT INTO "grants" VALUES('grant of Public','xtpn4ufqs5kb3b2mxnpqkobs5g','publicclientpublicclientpu','forgejo:read forgejo:write','',1793534400000,1793534400000,0,'',0,'');
INSERT INTO "grants" VALUES('grant of Secret','xtpn4ufqs5kb3b2mxnpqkobs5g','secretclientsecretclientse','forgejo:read forgejo:write','',1793534400000,1793534400000,0,'',0,'');
INSERT INTO "grants" VALUES('grant of Document','xtpn4ufqs5kb3b2mxnpqkobs5g','https://app.example/client.json','forgejo:read forgejo:write','',1793534400000,1793534400000,0,'',0,'');
INSERT INTO "grants" VALUES('grant of Operator','xtpn4ufqs5kb3b2mxnpqkobs5g','operatorclientoperatorclie','forgejo:read forgejo:write','',1793534400000,1793534400000,0,'',0,'');
CREATE TABLE leases (
			name TEXT PRIMARY KEY,
			holder TEXT NOT NULL,
			expires_at INTEGER NOT NULL
		) STRICT;
CREATE TABLE "logins" (
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
CREATE TABLE `migrations` (`id` text,PRIMARY KEY (`id`));
INSERT INTO "migrations" VALUES('0001_base');
INSERT INTO "migrations" VALUES('0002_client_kinds');
INSERT INTO "migrations" VALUES('0003_generation');
INSERT INTO "migrations" VALUES('0004_login_set');
INSERT INTO "migrations" VALUES('0005_account');
INSERT INTO "migrations" VALUES('0006_read_only');
INSERT INTO "migrations" VALUES('0007_shared_sessions');
INSERT INTO "migrations" VALUES('0008_resume');
INSERT INTO "migrations" VALUES('0009_sessions_by_age');
CREATE TABLE refresh_tokens (
			hash BLOB PRIMARY KEY,
			grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
			created_at INTEGER NOT NULL,
			expires_at INTEGER NOT NULL,
			first_used_at INTEGER NOT NULL,
			successor_hash BLOB,
			successor_sealed BLOB
		) STRICT;
INSERT INTO "refresh_tokens" VALUES(X'486DF4EA4DBA794AC16D3C9395A40FF9B22191F67107424E6587CC81A16A2FDC','grant of Public',1793534400000,1796126400000,0,NULL,NULL);
INSERT INTO "refresh_tokens" VALUES(X'A4C61C5EACD9BEE8F8362B4CA68A8C0CAE1BDA8F8BB5DC099F9D8EAB10EC2F29','grant of Secret',1793534400000,1796126400000,0,NULL,NULL);
INSERT INTO "refresh_tokens" VALUES(X'34E85016FEB529C106732CE983CD5D35F8D1C6E85FA1D30459C77057246E920D','grant of Document',1793534400000,1796126400000,0,NULL,NULL);
INSERT INTO "refresh_tokens" VALUES(X'1E5123D89171259F0A4E389D175CF5BB9711441D49F90D78AA0582D2BEB2D66B','grant of Operator',1793534400000,1796126400000,0,NULL,NULL);
CREATE TABLE session_states (
			session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
			unit_id TEXT NOT NULL,
			sealed BLOB NOT NULL
		) STRICT;
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
CREATE TABLE users (
			id TEXT PRIMARY KEY,
			forge TEXT NOT NULL,
			subject TEXT NOT NULL,
			name TEXT NOT NULL,
			UNIQUE (forge, subject)
		) STRICT;
INSERT INTO "users" VALUES('xtpn4ufqs5kb3b2mxnpqkobs5g','https://forge.example','sub-alice','alice');
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
COMMIT;
