package schema_test

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/store/database"
	"github.com/fjmcp/fjmcp-broker/internal/test/testpostgres"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

func TestMain(m *testing.M) { os.Exit(testpostgres.Main(m)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lines returns the rows, each as one line.
func lines(t *testing.T, driver, place, query string) (all []string) {
	t.Helper()
	db, err := sql.Open(driver, place)
	must(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var line string
		must(t, rows.Scan(&line))
		all = append(all, line)
	}
	must(t, rows.Err())
	return all
}

// SQLite keeps truth as a number, which its schema cannot tell from others.
var truth = map[string]bool{
	"clients.allow_none": true, "clients.introspect": true, "forgejo_tokens.withheld": true, "grants.narrowed": true,
	"sessions.read_only": true, "sessions.view_read_only": true, "memberships.administrator": true,
}

// sqliteColumns are tables and columns: type, whether NULL may stand there, default.
func sqliteColumns(t *testing.T, path string) (all []string) {
	t.Helper()
	types := map[string]string{"TEXT": "text C", "BLOB": "bytea", "INTEGER": "bigint"}
	for _, line := range lines(t, "sqlite", path, `SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || (c."notnull" OR c.pk > 0) || ' ' || COALESCE(c.dflt_value, '-')
		FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'migrations'`) {
		word := strings.SplitN(line, " ", 4)
		kind := types[word[1]]
		if truth[word[0]] {
			kind = "boolean"
			word[3] = map[string]string{"0": "false", "-": "-"}[word[3]]
		}
		all = append(all, fmt.Sprintf("%s %s %s %s", word[0], kind, word[2], word[3]))
	}
	slices.Sort(all)
	return all
}

func postgresColumns(t *testing.T, dsn string) (all []string) {
	t.Helper()
	all = lines(t, "pgx", dsn, `SELECT table_name || '.' || column_name || ' ' || data_type || COALESCE(' ' || collation_name, '') || ' ' ||
			(is_nullable = 'NO')::int || ' ' || COALESCE(replace(column_default, '::text', ''), '-')
		FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> 'migrations'`)
	slices.Sort(all)
	return all
}

var (
	spaces = regexp.MustCompile(`\s+`)
	casts  = regexp.MustCompile(`::\w+`)
	parens = strings.NewReplacer("(", "", ")", "", `"`, "", "USING btree ", "", "public.", "")
)

// plain makes statements of the two comparable.
func plain(index string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(parens.Replace(casts.ReplaceAllString(index, "")), " "))
}

func indexes(t *testing.T, driver, place, query string) (all []string) {
	t.Helper()
	for _, line := range lines(t, driver, place, query) {
		all = append(all, plain(line))
	}
	slices.Sort(all)
	return all
}

func diff(t *testing.T, what string, lite, post []string) {
	t.Helper()
	if len(lite) < 10 {
		t.Errorf("SQLite has %d %s", len(lite), what)
	}
	for _, line := range lite {
		if !slices.Contains(post, line) {
			t.Errorf("only SQLite has the %s %s", what, line)
		}
	}
	for _, line := range post {
		if !slices.Contains(lite, line) {
			t.Errorf("only PostgreSQL has the %s %s", what, line)
		}
	}
}

// Both have the same tables, columns and indexes; and all that refers to another table, or
// may not stand there twice.
func TestBothAreAlike(t *testing.T) {
	path, dsn := teststore.Path(t), testpostgres.Database(t, "")
	teststore.Open(t, path, nil)
	teststore.Open(t, dsn, nil)
	diff(t, "column", sqliteColumns(t, path), postgresColumns(t, dsn))
	diff(t, "index", indexes(t, "sqlite", path, "SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"),
		indexes(t, "pgx", dsn, `SELECT indexdef FROM pg_indexes i WHERE schemaname = current_schema()
			AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname)`))
	diff(t, "key", indexes(t, "sqlite", path, `SELECT m.name || ' ' || i.origin || ' ' || (SELECT group_concat(name, ', ') FROM pragma_index_info(i.name)) AS line
			FROM sqlite_schema m JOIN pragma_index_list(m.name) i WHERE m.type = 'table' AND i.origin <> 'c' AND m.name <> 'migrations'
			UNION ALL SELECT m.name || ' pk id' FROM sqlite_schema m WHERE m.name IN ('generation', 'canary', 'restores')
			UNION ALL SELECT m.name || ' f ' || f."from" || ' ' || f."table" || ' ' || f.on_delete FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'`),
		indexes(t, "pgx", dsn, `SELECT conrelid::regclass || ' ' || CASE contype WHEN 'p' THEN 'pk' WHEN 'u' THEN 'u' ELSE 'f' END || ' ' ||
				(SELECT string_agg(attname, ', ' ORDER BY array_position(conkey, attnum)) FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)) ||
				CASE contype WHEN 'f' THEN ' ' || confrelid::regclass || CASE confdeltype WHEN 'c' THEN ' CASCADE' ELSE ' NO ACTION' END ELSE '' END
			FROM pg_constraint WHERE contype IN ('p', 'u', 'f') AND connamespace = current_schema()::regnamespace AND conrelid <> 'migrations'::regclass`))
}

// Of ten brokers that start together on a new server each finds the tables made, once.
func TestTenStartTogether(t *testing.T) {
	dsn := testpostgres.Database(t, "")
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			db, err := database.Open(t.Context(), "", dsn, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := lines(t, "pgx", dsn, "SELECT n::text FROM generation"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("generation %q", got)
	}
}

// What Access may return changes with the generation, in both alike, and however many rows
// a statement has: on PostgreSQL it is raised once, or it would take seconds for thousands.
func TestWhatRaisesTheGeneration(t *testing.T) {
	teststore.Both(t, func(t *testing.T) {
		place := teststore.Path(t)
		teststore.Open(t, place, nil)
		driver := map[bool]string{true: "sqlite", false: "pgx"}[teststore.IsFile(place)]
		db, err := sql.Open(driver, place)
		must(t, err)
		defer db.Close()
		for _, s := range []string{
			"INSERT INTO users (id, forge, subject, name) VALUES ('u', 'f', '1', 'a')",
			"INSERT INTO clients (id, name, auth_method, redirect_uris, created_at) VALUES ('c', 'c', 'none', '[]', 1)",
			"INSERT INTO grants (id, user_id, client_id, scope, resource, created_at, redeemed_at, revoked_at) VALUES ('g', 'u', 'c', 's', '', 1, 1, 0), ('h', 'u', 'c', 's', '', 1, 1, 0)",
			"INSERT INTO forgejo_tokens (user_id, sealed, expires_at, scope, updated_at) VALUES ('u', '', 1, 's', 1)",
			"INSERT INTO access_tokens (hash, grant_id, refresh_hash, expires_at) VALUES ('1', 'g', '', 1), ('2', 'g', '', 1), ('3', 'g', '', 1)",
		} {
			if driver == "sqlite" { // STRICT
				s = strings.NewReplacer("('u', '', 1", "('u', x'', 1", "('1', 'g', ''", "(x'31', 'g', x''", "('2', 'g', ''", "(x'32', 'g', x''", "('3', 'g', ''", "(x'33', 'g', x''").Replace(s)
			}
			_, err := db.ExecContext(t.Context(), s)
			must(t, err)
		}
		rows := map[string]int{ // that a statement changes, so that Access may return something else
			"UPDATE grants SET used_at = 7": 0, "UPDATE grants SET revoked_at = 7": 2, "UPDATE grants SET revoked_at = 7, used_at = 8": 0,
			"UPDATE grants SET scope = 'less' WHERE id = 'g'": 1, "UPDATE grants SET ceiling = 'c' WHERE id = 'g'": 1,
			"UPDATE users SET name = 'b'": 1, "UPDATE users SET name = 'b', named_at = 9": 0, "UPDATE clients SET name = 'd'": 1, "UPDATE clients SET kind = 'x'": 0,
			"UPDATE forgejo_tokens SET withheld = TRUE": 1, "UPDATE forgejo_tokens SET scope = 'x'": 0, "DELETE FROM access_tokens": 3, "DELETE FROM codes": 0,
			"zz DELETE FROM forgejo_tokens": 1,
		}
		for _, statement := range slices.Sorted(maps.Keys(rows)) {
			var before, after int
			must(t, db.QueryRow("SELECT n FROM generation").Scan(&before))
			_, err := db.ExecContext(t.Context(), strings.TrimPrefix(statement, "zz "))
			must(t, err)
			must(t, db.QueryRow("SELECT n FROM generation").Scan(&after))
			want := rows[statement]
			if driver == "pgx" {
				want = min(want, 1)
			}
			if after-before != want {
				t.Errorf("%s raises it by %d, want %d", statement, after-before, want)
			}
		}
	})
}
