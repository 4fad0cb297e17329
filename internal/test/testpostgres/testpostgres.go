// Package testpostgres runs Debian's PostgreSQL for the tests of one package: a cluster of
// its own in a directory of its own, on a unix socket, as a user who owns nothing else. It
// ends with the test program, however that ends.
package testpostgres

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// cluster is the one of this test program.
var cluster struct {
	dir     string // of data and socket; empty without a cluster
	missing error  // why there is none
	made    atomic.Int64
}

// nobody owns the cluster where root runs the tests: PostgreSQL refuses root.
const nobody = 65534

// superuser is the name of the cluster's first role.
const superuser = "tester"

// Main is for TestMain: it runs the tests with a cluster that Database makes databases in.
// Without PostgreSQL's programs (Debian's package postgresql) the tests that want one are
// skipped, and fail in CI. Benchmarks get a cluster that writes to disk as in production.
func Main(m *testing.M) int {
	flag.Parse()
	end, err := start(flag.Lookup("test.bench").Value.String() != "")
	if err != nil {
		cluster.missing = err
		if os.Getenv("CI") != "" {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}
	defer end()
	return m.Run()
}

// start runs a server until end is called, or this process is gone.
func start(durable bool) (end func(), err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fjmcp-postgres-")
	if err != nil {
		return nil, err
	}
	c := command{dir: dir}
	if os.Geteuid() == 0 {
		c.credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	data := filepath.Join(dir, "data")
	// A collation that is as far from SQLite's as there is.
	init := c.make(context.Background(), filepath.Join(bin, "initdb"), "--pgdata="+data, "--username="+superuser, "--auth=trust", "--encoding=UTF8",
		"--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	if out, err := init.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make a cluster: %w: %s", err, out), os.RemoveAll(dir))
	}
	// Pdeathsig looks at the thread that has started the server.
	runtime.LockOSThread()
	options := []string{"-D", data, "-k", dir, "-h", "", "-c", "max_connections=300", "-c", "deadlock_timeout=100ms", "-c", "log_min_messages=warning"}
	if !durable {
		options = append(options, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	server := c.make(context.Background(), filepath.Join(bin, "postgres"), options...)
	if server.Stderr, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := server.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start PostgreSQL: %w", err), os.RemoveAll(dir))
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	end = func() {
		server.Process.Signal(syscall.SIGQUIT) // at once; nothing is kept
		<-ended
		os.RemoveAll(dir)
	}
	cluster.dir = dir
	if err := ready(ended); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "log"))
		end()
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return end, nil
}

// programs returns the directory of PostgreSQL's programs, the newest that are there.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errors.New("there is no PostgreSQL here: apt install postgresql")
	}
	return filepath.Dir(slices.Max(found)), nil
}

// command makes programs that run as the cluster's owner, in its directory.
type command struct {
	dir        string
	credential *syscall.Credential
}

func (c command) make(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"LC_ALL=C.UTF-8", "TZ=UTC", "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// ready waits until the server takes statements, or has ended.
func ready(ended <-chan error) error {
	db, err := sql.Open("pgx", DSN("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		err := db.Ping()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("PostgreSQL ended at its start")
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		}
	}
}

// DSN returns the connection string of a database.
func DSN(database string) string {
	return "postgres://" + superuser + "@/" + database + "?host=" + url.QueryEscape(cluster.dir)
}

// Directory is where the cluster keeps its files and its socket.
func Directory() string { return cluster.dir }

// Database makes a database, empty or a copy of one that no other uses, and returns its
// connection string. It goes with the cluster.
func Database(t testing.TB, of string) string {
	t.Helper()
	if of == "" {
		return DSN(create(t, "template0"))
	}
	return DSN(create(t, Name(of)))
}

func create(t testing.TB, template string) (name string) {
	t.Helper()
	if cluster.missing != nil {
		t.Skip(cluster.missing)
	}
	if cluster.dir == "" {
		t.Fatal("the package's TestMain does not call testpostgres.Main")
	}
	name = fmt.Sprint("test", cluster.made.Add(1))
	Exec(t, DSN("postgres"), "CREATE DATABASE "+name+" TEMPLATE "+template)
	return name
}

// Name is the database of a connection string that DSN returned.
func Name(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(u.Path, "/")
}

// Exec runs statements past the store, each in a transaction of its own.
func Exec(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
