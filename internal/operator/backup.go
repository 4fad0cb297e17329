package operator

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/version"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/store/snapshot"
)

// staleBackup is when what a killed process has left of a backup is in nobody's use.
const staleBackup = time.Hour

var errBackupUnderWay = &admin.Error{Text: "another backup is under way"}

// Backup copies the database as it is now, looks whether the copy is whole, and writes it to
// what begin returns. One is made at a time.
func (o *Operator) Backup(ctx context.Context, begin func(size int64) io.Writer) error {
	if !o.backup.TryLock() {
		return errBackupUnderWay
	}
	defer o.backup.Unlock()
	// What happens from here on may be in the copy, and is known to whoever restores it.
	m := archive.Manifest{
		ID: model.NewID(), Made: o.cfg.Now().UTC(), Version: version.String(), Invocation: os.Getenv("INVOCATION_ID"), Event: o.cfg.Audit.Number(),
		PublicURL: o.cfg.Settings.PublicURL.String(), ForgeURL: o.cfg.Settings.ForgejoURL.String(),
	}
	f, err := o.snapshot(ctx, &m)
	if err != nil {
		return &admin.Error{Text: err.Error()}
	}
	defer f.Close()
	r, size, err := m.Reader(f, o.cfg.Keys)
	if err != nil {
		return err
	}
	n, err := io.Copy(begin(size), r)
	e := audit.Event{Kind: audit.BackupMade, Outcome: "ok", Detail: fmt.Sprintf("%s, %d bytes", m.ID, n)}
	if err != nil {
		e.Outcome, e.Failed = "cut_off", true
	}
	o.cfg.Audit.Event(ctx, e)
	return err
}

// snapshot returns a copy of the database that has no name any more.
func (o *Operator) snapshot(ctx context.Context, m *archive.Manifest) (*os.File, error) {
	state := filepath.Dir(o.cfg.Store.Path())
	removeStale(filepath.Join(state, "backup-*"), o.cfg.Now().Add(-staleBackup))
	dir, err := os.MkdirTemp(state, "backup-")
	if err != nil {
		return nil, fmt.Errorf("cannot copy the database: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "fjmcp.db")
	c, err := snapshot.Take(ctx, o.cfg.Store.Path(), path, o.cfg.Keys)
	if err != nil {
		return nil, err
	}
	m.Schema, m.Users, m.Clients, m.Logins, m.Sessions = c.Schema, c.Users, c.Clients, c.Logins, c.Sessions
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the copy of the database: %w", err)
	}
	if err := m.Measure(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeStale deletes what was left before that time.
func removeStale(pattern string, before time.Time) {
	all, _ := filepath.Glob(pattern) // the pattern is well-formed
	for _, path := range all {
		if info, err := os.Stat(path); err == nil && info.ModTime().Before(before) {
			_ = os.RemoveAll(path) // the next backup tries again
		}
	}
}
