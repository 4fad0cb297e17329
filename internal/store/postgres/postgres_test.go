package postgres

import (
	"errors"
	"os"
	"strings"
	"testing"

	"gorm.io/gorm"

	"github.com/fjmcp/fjmcp-broker/internal/test/testpostgres"
)

func TestMain(m *testing.M) { os.Exit(testpostgres.Main(m)) }

const password = "hunter2-canary"

// tables stands for the migrations: it makes one table.
func tables(db *gorm.DB) error { return db.Exec("CREATE TABLE IF NOT EXISTS t (n bigint)").Error }

// try opens a database and holds the error against what must never be in it.
func try(t *testing.T, dsn string) error {
	t.Helper()
	d, err := Open(t.Context(), dsn, tables)
	if err != nil {
		if text := err.Error(); strings.Contains(text, password) || strings.Contains(text, "\n") || strings.Contains(text, dsn) {
			t.Errorf("the error tells too much, or is not a line: %q", text)
		}
		return err
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	return nil
}

func TestWhatMustBeMended(t *testing.T) {
	ours := testpostgres.Database(t, "")
	host := "host=" + testpostgres.Directory() + " "
	testpostgres.Exec(t, ours, "CREATE ROLE guest LOGIN", "CREATE ROLE poor LOGIN", "CREATE ROLE lost LOGIN", "ALTER ROLE lost SET search_path = nowhere",
		"CREATE ROLE quick LOGIN", "ALTER ROLE quick SET synchronous_commit = off",
		"REVOKE CONNECT ON DATABASE "+testpostgres.Name(ours)+" FROM PUBLIC", "GRANT CONNECT ON DATABASE "+testpostgres.Name(ours)+" TO poor, lost, quick",
		"CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
	database := "dbname=" + testpostgres.Name(ours) + " "
	for name, tc := range map[string]struct{ dsn, want string }{
		"empty":               {" \n", "cannot be read"},
		"no string at all":    {"postgres//" + password, "cannot be read"},
		"a bad URI":           {"postgres://u:" + password + "@h:port/d", "cannot be read"},
		"a bad word":          {"host=h sslmode=perhaps password=" + password, "cannot be read"},
		"not encrypted":       {"postgres://u:" + password + "@db.example/d?sslmode=disable", "sslmode=verify-full"},
		"encrypted if easy":   {"postgres://u:" + password + "@db.example/d?sslmode=prefer", "sslmode=verify-full"},
		"the default":         {"postgres://u:" + password + "@192.0.2.7/d", "sslmode=verify-full"},
		"to whomever":         {"postgres://u:" + password + "@db.example/d?sslmode=require", "sslmode=verify-full"},
		"the second":          {"postgres://u:" + password + "@127.0.0.1,db.example/d?sslmode=disable", "db.example is another machine"},
		"no such database":    {host + "user=tester dbname=missing", "no such database"},
		"no such role":        {host + database + "user=nobody-we-know", "does not let this role in"},
		"may not connect":     {host + database + "user=guest", "needs CONNECT"},
		"may not make tables": {host + database + "user=poor", "CREATE in its schema"},
		"no schema":           {host + database + "user=lost", "search_path"},
		"commits not kept":    {host + database + "user=quick", "synchronous_commit is off"},
		"another encoding":    {host + "user=tester dbname=latin", "must be UTF8"},
	} {
		err := try(t, tc.dsn)
		var setup *SetupError
		if !errors.As(err, &setup) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What may pass is no fault of the set-up.
func TestWhatMayPass(t *testing.T) {
	standby := testpostgres.Database(t, "")
	testpostgres.Exec(t, standby, "ALTER DATABASE "+testpostgres.Name(standby)+" SET default_transaction_read_only = on")
	for name, dsn := range map[string]string{
		"nobody listens":  "host=" + t.TempDir() + " user=u dbname=d password=" + password,
		"a closed port":   "postgres://u:" + password + "@127.0.0.1:9/d",
		"an unknown name": "postgres://u:" + password + "@db.invalid/d?sslmode=verify-full",
		"a standby":       standby,
	} {
		err := try(t, dsn)
		var setup *SetupError
		if err == nil || errors.As(err, &setup) || !strings.HasPrefix(err.Error(), "cannot reach PostgreSQL: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of several hosts the one that takes writes is used.
func TestTheWritableHostIsTaken(t *testing.T) {
	dsn := testpostgres.Database(t, "")
	several := "host=" + t.TempDir() + "," + testpostgres.Directory() + " user=tester dbname=" + testpostgres.Name(dsn) + " target_session_attrs=read-write"
	if err := try(t, several); err != nil {
		t.Error(err)
	}
}

// The pool for reading cannot write, and that for writing can.
func TestReadersOnlyRead(t *testing.T) {
	d, err := Open(t.Context(), testpostgres.Database(t, ""), tables)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Read.Exec("INSERT INTO t VALUES (1)").Error; err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a reader wrote: %v", err)
	}
	if err := d.Write.Exec("INSERT INTO t VALUES (1)").Error; err != nil {
		t.Error(err)
	}
}

// A transaction that had to give way is run once more.
func TestDeadlocksAreTriedAgain(t *testing.T) {
	d, err := Open(t.Context(), testpostgres.Database(t, ""), tables)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Write.Exec("INSERT INTO t VALUES (1), (2)").Error; err != nil {
		t.Fatal(err)
	}
	var tries [2]int
	met := make(chan bool, 2)
	both := make(chan struct{})
	go func() { <-met; <-met; close(both) }()
	done := make(chan error, 2)
	for i := range tries {
		go func() {
			done <- Retry(t.Context(), func() error {
				tries[i]++
				return d.Write.WithContext(t.Context()).Transaction(func(tx *gorm.DB) error {
					if err := tx.Exec("UPDATE t SET n = n WHERE n = ?", 1+i).Error; err != nil {
						return err
					}
					if tries[i] == 1 {
						met <- true
						<-both
					}
					return tx.Exec("UPDATE t SET n = n WHERE n = ?", 2-i).Error
				})
			})
		}()
	}
	for range tries {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if tries[0]+tries[1] != 3 {
		t.Errorf("tried %v times", tries)
	}
}
