package apply

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fjmcp/fjmcp-broker/internal/store/snapshot"
)

// swap returns what puts the database at from in the place of the one at to, one step after
// the other, and where the former one is then, if there is one. Cut off after any of them,
// what is at to is the former one, whole, or the new one, and then the former one has its
// new name already.
func swap(ctx context.Context, from, to, former string) (steps []func() error, _ string) {
	place := func() error { return errors.Join(os.Rename(from, to), syncDir(filepath.Dir(to))) }
	if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
		return []func() error{func() error { return remove(to+"-wal", to+"-shm") }, place}, ""
	}
	// A log that stays would be taken for the new one's. A broker that was killed leaves
	// one: what is in it belongs into the former database. Where that is damaged, both are
	// kept as they are.
	settled := false
	return []func() error{
		func() error { settled = snapshot.Settle(ctx, to) == nil; return nil },
		func() error { return link(to, former) },
		func() error {
			if settled {
				return nil
			}
			return link(to+"-wal", former+"-wal")
		},
		func() error { return syncDir(filepath.Dir(to)) },
		func() error { return remove(to+"-wal", to+"-shm") },
		place,
	}, former
}

// link gives a file another name; one that is not there needs none.
func link(from, to string) error {
	err := os.Link(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func remove(paths ...string) error {
	var errs []error
	for _, path := range paths {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
