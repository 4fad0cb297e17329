// Package postgres opens a PostgreSQL database that several processes share: whom it
// trusts, what a server must be like, one pool for each process that writes and one that
// reads, and what to do when the transactions of two get in each other's way. It knows
// nothing of the tables.
package postgres

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// DB is one process's connections to a database.
type DB struct {
	Write *gorm.DB // its transactions are READ COMMITTED
	Read  *gorm.DB // a pool that cannot write
	Name  string   // of host and database, for people
}

// conns is the size of either pool of one process. A server takes 100 as Debian ships it.
const conns = 8

// oldest is the first version that is taken, as the server numbers it.
const oldest = 15_00_00

// Open connects by the string dsn and has migrate bring the tables up to date. Errors carry
// no password; one is a *SetupError where waiting helps nothing, and any other may pass.
func Open(ctx context.Context, dsn string, migrate func(*gorm.DB) error) (*DB, error) {
	c, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	d := &DB{Name: c.Host + "/" + c.Database}
	if err := d.open(ctx, c, migrate); err != nil {
		return nil, errors.Join(clean(err), d.Close())
	}
	return d, nil
}

func (d *DB) open(ctx context.Context, c *pgx.ConnConfig, migrate func(*gorm.DB) error) (err error) {
	if d.Write, err = pool(*c); err != nil {
		return err
	}
	if err := fit(d.Write.WithContext(ctx)); err != nil {
		return err
	}
	if err := migrate(d.Write.WithContext(ctx)); err != nil {
		return err
	}
	reading := c.Copy()
	reading.RuntimeParams["default_transaction_read_only"] = "on"
	reading.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary // the other looks at that parameter
	d.Read, err = pool(*reading)
	return err
}

func pool(c pgx.ConnConfig) (*gorm.DB, error) {
	all := sql.OpenDB(connector{stdlib.GetConnector(c)})
	all.SetMaxOpenConns(conns)
	all.SetMaxIdleConns(conns)
	// After a failover connections move to where the name leads by then.
	all.SetConnMaxLifetime(30 * time.Minute)
	return gorm.Open(postgres.New(postgres.Config{Conn: all}), &gorm.Config{
		Logger:                 logger.Discard, // statements hold names and hashes
		SkipDefaultTransaction: true,
	})
}

// connector hides what pgx says of the connection string where it cannot connect.
type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	return conn, clean(err)
}

// fit refuses a server that would lose or mangle what is stored.
func fit(db *gorm.DB) error {
	var s struct {
		Version  int
		Encoding string
		Commit   string
		Schema   *string
	}
	err := db.Raw(`SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
		current_setting('synchronous_commit') AS commit, current_schema() AS schema`).Scan(&s).Error
	switch {
	case err != nil:
		return err
	case s.Version < oldest:
		return &SetupError{fmt.Sprintf("the server is version %d and must be 15 or later", s.Version/10000)}
	case s.Encoding != "UTF8":
		return &SetupError{fmt.Sprintf("the database's encoding is %s and must be UTF8; make another: createdb --encoding=UTF8 --template=template0", s.Encoding)}
	case s.Commit == "off":
		return &SetupError{"synchronous_commit is off, so a crash of the server would bring back tokens that were used; turn it on for this role or database"}
	case s.Schema == nil:
		return &SetupError{"the role's search_path names no schema that it may use; give it one: CREATE SCHEMA fjmcp AUTHORIZATION <role>"}
	}
	return nil
}

// SQLSTATE codes (https://www.postgresql.org/docs/15/errcodes-appendix.html).
const (
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeRaised        = "P0001"
	codeForbidden     = "42501"
)

// mend are codes that stay until an operator does something.
var mend = map[string]string{
	"28000":       "the server does not let this role in",
	"28P01":       "the server does not take the password",
	"3D000":       "there is no such database",
	codeForbidden: "the role may not do this; it needs CONNECT, and CREATE in its schema: make it the owner of the database",
}

// clean keeps what a person needs of an error and leaves the connection string out.
func clean(err error) error {
	var setup *SetupError
	var said *pgconn.PgError
	var connect *pgconn.ConnectError
	var certificate *tls.CertificateVerificationError
	switch {
	case err == nil, errors.As(err, &setup):
		return err
	case errors.As(err, &said) && mend[said.Code] != "":
		return &SetupError{fmt.Sprintf("%s (%s)", mend[said.Code], said.Message)}
	case errors.As(err, &certificate):
		return &SetupError{"the server's certificate: " + certificate.Err.Error()}
	case errors.As(err, &connect):
		return &unreachable{connect}
	}
	return err
}

// unreachable is a server that may be there later.
type unreachable struct{ err error }

// Error names the cause, of several hosts the last one's.
func (e *unreachable) Error() string {
	cause := e.err
	for {
		switch next := cause.(type) {
		case interface{ Unwrap() []error }:
			all := next.Unwrap()
			if len(all) == 0 {
				return "cannot reach PostgreSQL"
			}
			cause = all[len(all)-1]
			continue
		case interface{ Unwrap() error }:
			if inner := next.Unwrap(); inner != nil {
				cause = inner
				continue
			}
		}
		return "cannot reach PostgreSQL: " + cause.Error()
	}
}

// Is has a caller's own end show.
func (e *unreachable) Is(target error) bool {
	return (target == context.Canceled || target == context.DeadlineExceeded) && errors.Is(e.err, target)
}

// Close ends all connections.
func (d *DB) Close() error {
	var errs []error
	for _, db := range []*gorm.DB{d.Read, d.Write} {
		if db == nil {
			continue
		}
		all, err := db.DB()
		if err == nil {
			err = all.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Raised reports whether err is what a trigger raised with that message.
func Raised(err error, message string) bool {
	var said *pgconn.PgError
	return errors.As(err, &said) && said.Code == codeRaised && strings.Contains(said.Message, message)
}

const (
	// retryBound is how long a transaction is tried in all.
	retryBound = 10 * time.Second
	retryPause = 10 * time.Millisecond
)

// Retry runs fn until it ends with anything but the server's choice of it as the one of
// several transactions that has to give way, for ten seconds.
func Retry(ctx context.Context, fn func() error) error {
	deadline := time.Now().Add(retryBound)
	for {
		err := fn()
		var said *pgconn.PgError
		if !errors.As(err, &said) || !slices.Contains([]string{codeSerialization, codeDeadlock}, said.Code) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(retryPause/2 + rand.N(retryPause)):
		}
	}
}
