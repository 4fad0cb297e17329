package postgres

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
)

// SetupError says what an operator has to mend before the database can be used: waiting
// helps nothing. It carries nothing of the connection string but host names.
type SetupError struct{ Text string }

// Error is the text.
func (e *SetupError) Error() string { return "cannot use PostgreSQL: " + e.Text }

// parse reads a connection string (libpq's: key=value, or a URI) and refuses what would
// send users' data over a network without knowing to whom.
func parse(dsn string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(strings.TrimSpace(dsn))
	if err != nil || strings.TrimSpace(dsn) == "" {
		// What pgx says repeats the string, or part of it.
		return nil, &SetupError{"the connection string cannot be read; write postgres://user:password@host/database?sslmode=verify-full, or host=/run/postgresql dbname=fjmcp"}
	}
	if err := verified(c.Host, c.TLSConfig); err != nil {
		return nil, err
	}
	for _, other := range c.Fallbacks {
		if err := verified(other.Host, other.TLSConfig); err != nil {
			return nil, err
		}
	}
	// Of several hosts the one that takes writes; one that is only a standby is no use.
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	for name, value := range map[string]string{
		"application_name": "fjmcp-broker",
		// As long as SQLite is waited for. Then whoever asked is told, and may come again.
		"lock_timeout": "10s",
		// A broker that is frozen in a transaction must not keep others out.
		"idle_in_transaction_session_timeout": "30s",
	} {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = value
		}
	}
	return c, nil
}

// verified refuses a host elsewhere whose certificate and name nobody looks at.
func verified(host string, t *tls.Config) error {
	local := strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || localhost.Literal(host)
	// sslmode=require and verify-ca skip the verification, or part of it.
	if local || t != nil && !t.InsecureSkipVerify && t.ServerName != "" {
		return nil
	}
	return &SetupError{fmt.Sprintf("the server %s is another machine, and the connection string does not ask for its certificate and name to be verified; add sslmode=verify-full, and sslrootcert= for a CA of your own", host)}
}
