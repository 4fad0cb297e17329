package store_test

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// writeFixture is what `make fixture` sets, when a version is released.
var writeFixture = flag.Bool("write-fixture", false, "write testdata/<version of debian/changelog>.sql")

// TestReleasedDatabases: a database of each released version, and of the one that comes,
// opens, is whole, has the tables that a new one has, and gives what was sealed in it.
// Of SQLite: no version before wrote to PostgreSQL.
func TestReleasedDatabases(t *testing.T) {
	changelog, err := os.ReadFile("../../debian/changelog")
	must(t, err)
	versions := regexp.MustCompile(`(?m)^fjmcp-broker \((.+)\)`).FindAllStringSubmatch(string(changelog), -1)
	if *writeFixture {
		text := dump(t, versions[0][1])
		f, err := os.OpenFile(filepath.Join("testdata", versions[0][1]+".sql"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // a released one stays
		must(t, err)
		_, err = f.Write(text)
		must(t, errors.Join(err, f.Close()))
	}
	fresh := teststore.Path(t)
	must(t, openAt(t, fresh, "k", nil).Check(t.Context()))
	want := query(t, fresh, "SELECT name || ': ' || sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
	for _, v := range versions[:len(versions)-1] { // there is none of 0.1.0, the first
		t.Run(v[1], func(t *testing.T) {
			path := fixture(t, v[1]+".sql")
			s := openAt(t, path, "k", nil)
			must(t, s.Check(t.Context()))
			if got := query(t, path, "PRAGMA integrity_check"); !reflect.DeepEqual(got, []string{"ok"}) {
				t.Errorf("it is not whole: %q", got)
			}
			if got := query(t, path, "SELECT \"table\" FROM pragma_foreign_key_check"); len(got) > 0 {
				t.Errorf("rows refer to others that are not there, in %q", got)
			}
			if got := query(t, path, "SELECT name || ': ' || sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"); !reflect.DeepEqual(got, want) {
				t.Errorf("a new database has other tables, so a released migration was changed:\ngot  %q\nwant %q", got, want)
			}
			users := query(t, path, "SELECT user_id FROM forgejo_tokens")
			if len(users) == 0 {
				t.Fatal("nobody has a token of Forgejo in it")
			}
			for _, user := range users {
				if tokens, err := s.ForgejoTokens(t.Context(), user); err != nil || tokens.AccessToken == "" {
					t.Errorf("the token of %s: %v", user, err)
				}
			}
		})
	}
}

// fixture makes the database that a file of testdata tells of.
func fixture(t *testing.T, name string) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatalf("%v: make fixture makes it", err)
	}
	path = teststore.Path(t)
	must(t, os.WriteFile(path, nil, 0o600))
	db, err := openSQL(path)
	must(t, err)
	_, err = db.ExecContext(t.Context(), string(text))
	must(t, errors.Join(err, db.Close()))
	return path
}

// query returns the first column of the rows.
func query(t *testing.T, path, q string) (column []string) {
	t.Helper()
	db, err := openSQL(path)
	must(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), q)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var value string
		must(t, rows.Scan(&value))
		column = append(column, value)
	}
	must(t, rows.Err())
	return column
}

// dump returns what makes a database with a row in each table, by sqlite3(1).
func dump(t *testing.T, version string) []byte {
	t.Helper()
	path := teststore.Path(t)
	furnish(t, path)
	for _, table := range query(t, path, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'") {
		if len(query(t, path, "SELECT 1 FROM "+table)) == 0 {
			t.Errorf("furnish leaves the table %s empty", table)
		}
	}
	out, err := exec.CommandContext(t.Context(), "sqlite3", path, ".dump").Output()
	must(t, err)
	text := strings.TrimPrefix(string(out), "PRAGMA foreign_keys=OFF;\n")
	return []byte("-- A database of fjmcp " + version + ", made with the store key of 32 k.\n" + text)
}

// furnish makes a database with a row in each table.
func furnish(t *testing.T, path string) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	s := openAt(t, path, "k", nil)
	must(t, s.Restored(ctx, store.Restore{Outcome: "ok"}))
	_, err := s.AcquireLease(ctx, "lease", "holder", time.Hour)
	must(t, err)
	l := teststore.LogIn(t, s, "alice", now)
	hash := func(name string) []byte { return model.Hash(name) }
	must(t, s.CreateLogin(ctx, store.Login{StateHash: hash("state"), BrowserHash: hash("browser"), ClientID: l.Client.ID, ExpiresAt: now.Add(time.Minute)}))
	must(t, s.KeepLoginSet(ctx, hash("state"), model.ForgejoTokens{AccessToken: "pending", ExpiresAt: now.Add(time.Hour)}))
	device := store.DeviceRequest{ID: model.NewID(), ClientID: l.Client.ID, CreatedAt: now, ExpiresAt: now.Add(time.Minute)}
	must(t, s.CreateDeviceRequest(ctx, device, "device code", "BCDFGHJK"))
	must(t, s.CreateLogin(ctx, store.Login{StateHash: hash("account"), BrowserHash: hash("browser"), ExpiresAt: now.Add(time.Minute)}))
	must(t, s.FinishAccountLogin(ctx, hash("account"), store.AccountSession{Hash: hash("account"), UserID: l.User.ID, ExpiresAt: now.Add(time.Hour)}))
	_, _, err = s.BlockUser(ctx, "17", "root (uid 0)")
	must(t, err)
	_, err = s.UseAssertion(ctx, hash("assertion"), now.Add(time.Hour))
	must(t, err)
	session := model.Session{ID: model.NewID(), UserID: l.User.ID, ClientID: l.Client.ID, GrantID: l.Grant.ID, CreatedAt: now, LastUsedAt: now}
	must(t, s.CreateSession(ctx, session))
	must(t, s.SetSessionUnit(ctx, session.ID, "unit"))
	must(t, s.SaveSessionStates(ctx, []store.SessionState{{SessionID: session.ID, UnitID: "unit", State: []byte(`{}`)}}))
	must(t, s.PutMembership(ctx, model.Membership{UserID: l.User.ID, AskedAt: now, Organizations: []model.Named{{ID: 12, Name: "acme"}}}))
	must(t, s.SetPolicyNames(ctx, []store.PolicyName{{Kind: "user", Name: "alice", ID: 7}}))
	_, err = s.Generation(ctx, 0)
	must(t, err)
}
