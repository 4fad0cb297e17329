// Package apply is the part of a restore that is done as the broker's user, in the state
// directory: it looks through a backup, has end again in it what has ended since, and puts
// it in the place of the database. At each moment the database is the former one or the
// new one, whole; the former one stays.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore"
	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
	"github.com/fjmcp/fjmcp-broker/internal/store/snapshot"
)

// database is what a broker's database is called in its state directory.
const database = "fjmcp.db"

// workPattern is of directories that a restore which was killed leaves behind.
const workPattern = "restore-*"

// Run reads an Order from in, does it with the backup, and writes the Answer to out.
func Run(ctx context.Context, in io.Reader, backup io.Reader, out io.Writer) error {
	var o restore.Order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("cannot read what to do: %w; fjmcpctl restore starts this", err)
	}
	a, err := Do(ctx, o, backup, time.Now())
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

// Do does what is ordered.
func Do(ctx context.Context, o restore.Order, backup io.Reader, now time.Time) (a restore.Answer, err error) {
	if len(o.Keys) == 0 {
		return a, errors.New("there is no store key to look into the backup with")
	}
	keys, err := seal.NewKeyring(o.Keys[0], o.Keys[1:]...)
	if err != nil {
		return a, err
	}
	unlock, err := lock(o.StateDir)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := removeLeft(o.StateDir); err != nil {
		return a, err
	}
	work, err := os.MkdirTemp(o.StateDir, workPattern)
	if err != nil {
		return a, fmt.Errorf("cannot unpack the backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	path, present := filepath.Join(work, database), filepath.Join(o.StateDir, database)
	if o.Do {
		if err := unused(present); err != nil {
			return a, err
		}
	}
	if a.Manifest, err = unpack(ctx, backup, path, keys); err != nil || !o.Do {
		return a, err
	}
	if a.ID != o.ID {
		return a, errors.New("the file is another backup than a moment ago")
	}
	if a.Ended, err = bringUp(ctx, path, keys, o, a.Manifest); err != nil {
		return a, err
	}
	steps, former := swap(ctx, path, present, filepath.Join(o.StateDir, restore.FormerName(now)))
	for _, step := range steps {
		if err := step(); err != nil {
			return a, fmt.Errorf("cannot put the backup in place: %w", err)
		}
	}
	a.Former = former
	return a, nil
}

// lock keeps brokers from opening the database, and other restores away.
func lock(dir string) (unlock func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the state directory: %w", err)
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.Close()
		return nil, fmt.Errorf("another restore is under way, or a broker starts: %s is locked", dir)
	}
	return d.Close, nil
}

// removeLeft deletes what a restore that was killed has left.
func removeLeft(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, workPattern))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// unpack writes the database of a backup to path, if it is genuine and whole.
func unpack(ctx context.Context, backup io.Reader, path string, keys *seal.Keyring) (archive.Manifest, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return archive.Manifest{}, fmt.Errorf("cannot unpack the backup: %w", err)
	}
	b, err := archive.Read(backup, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return archive.Manifest{}, err
	}
	if err := b.Verify(keys); err != nil {
		return archive.Manifest{}, err
	}
	_, err = snapshot.Inspect(ctx, path, keys)
	var newer *snapshot.NewerError
	if errors.As(err, &newer) {
		err = fmt.Errorf("%w: fjmcp-broker %s or later", err, b.Version)
	}
	return b.Manifest, err
}

// bringUp makes the database one of this version, and ends in it what has ended since.
func bringUp(ctx context.Context, path string, keys *seal.Keyring, o restore.Order, m archive.Manifest) (ended restore.Ended, err error) {
	s, err := store.Open(ctx, store.Options{Path: path, Keys: keys})
	if err != nil {
		return ended, err
	}
	defer func() {
		err = errors.Join(err, s.Close())
		if _, left := os.Stat(path + "-wal"); err == nil && left == nil {
			err = errors.New("the database could not be finished")
		}
	}()
	detail := fmt.Sprintf("%s of %s", m.ID, m.Made.UTC().Format(time.RFC3339))
	if err := s.Restored(ctx, store.Restore{Operator: o.Operator, Outcome: o.Outcome, Detail: detail}); err != nil {
		return ended, err
	}
	r := replay{s, &ended, map[string]bool{}, map[string]bool{}}
	if err := r.run(ctx, o.Since); err != nil || !o.RevokeAll {
		return ended, err
	}
	return ended, r.everything(ctx)
}

// unused returns an error if a process has the database open: each that has holds a lock on
// the index of its log (https://sqlite.org/walformat.html#locks).
func unused(path string) error {
	f, err := os.Open(path + "-shm")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look whether the database is in use: %w", err)
	}
	defer f.Close()
	const first, count = 120, 9 // the locks' bytes
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: first, Len: count}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil {
		return fmt.Errorf("cannot look whether the database is in use: %w", err)
	}
	if l.Type != unix.F_UNLCK {
		return fmt.Errorf("%s is in use by process %d; stop the broker first", path, l.Pid)
	}
	return nil
}
