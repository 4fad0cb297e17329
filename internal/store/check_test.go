package store_test

import (
	"context"
	"database/sql"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// Check writes: it fails where no more can be written, and works again when that is over.
// Of SQLite's file, whose file system is full.
func TestCheckWrites(t *testing.T) {
	path := teststore.Path(t)
	s := teststore.Open(t, path, nil)
	must(t, s.Check(t.Context()))
	wal, err := os.Stat(path + "-wal")
	must(t, err)
	signal.Ignore(unix.SIGXFSZ) // which goes along with the error
	defer signal.Reset(unix.SIGXFSZ)
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &was))
	full := was
	full.Cur = uint64(wal.Size())
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &full))
	err = s.Check(t.Context())
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &was))
	if err == nil || !strings.HasPrefix(err.Error(), "cannot write to the database: ") {
		t.Errorf("with a full disk: %v", err)
	}
	must(t, s.Check(t.Context()))
}

// What another process's lock keeps from writing does not wait for longer than it may.
// Of SQLite, which locks the whole file.
func TestCheckWhileLocked(t *testing.T) {
	path := teststore.Path(t)
	s := teststore.Open(t, path, nil)
	other, err := sql.Open("sqlite", path)
	must(t, err)
	defer other.Close()
	tx, err := other.Conn(t.Context())
	must(t, err)
	defer tx.Close()
	_, err = tx.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Check(ctx); err == nil {
		t.Error("it wrote to what is locked")
	}
	_, err = tx.ExecContext(t.Context(), "ROLLBACK")
	must(t, err)
	must(t, s.Check(t.Context()))
}
