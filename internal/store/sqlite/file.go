package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// prepareFile makes directory and file when absent and refuses ones that other
// users could read or replace. SQLite gives its -wal and -shm files the mode of
// the database.
func prepareFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the state directory: %w", err)
	}
	if err := checkDir(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return checkFile(path)
	case err != nil:
		return fmt.Errorf("cannot make the database: %w", err)
	}
	return f.Close()
}

func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("cannot read the state directory: %w", err)
	}
	if uid := owner(info); uid != os.Geteuid() && uid != 0 {
		return fmt.Errorf("cannot trust the state directory %s: it belongs to uid %d and this process runs as uid %d; run: chown %d %s", dir, uid, os.Geteuid(), os.Geteuid(), dir)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("cannot trust the state directory %s: its mode %#o lets other users write; run: chmod 0700 %s", dir, mode, dir)
	}
	return nil
}

func checkFile(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("cannot read the database: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("cannot use the database %s: it is not a regular file", path)
	}
	if uid := owner(info); uid != os.Geteuid() {
		return fmt.Errorf("cannot use the database %s: it belongs to uid %d and this process runs as uid %d; run: chown %d %s", path, uid, os.Geteuid(), os.Geteuid(), path)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		return fmt.Errorf("cannot use the database %s: its mode is %#o and must be 0600; if others may have read it, sign out all users after: chmod 0600 %s", path, mode, path)
	}
	// Not by opening it: to close it would end SQLite's locks of this process.
	if errors.Is(syscall.Access(path, accessWrite), syscall.EROFS) {
		return fmt.Errorf("cannot write the database %s: its file system is read-only; see why with dmesg and mend it, then: mount -o remount,rw %s, and start the broker anew", path, filepath.Dir(path))
	}
	return nil
}

// accessWrite is access(2)'s W_OK.
const accessWrite = 2

// lockDir lets one process at a time open the database: the switch of a new
// file to WAL fails at once, without the busy timeout, when another has it open.
func lockDir(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the state directory: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot lock the state directory %s: %w", dir, err), f.Close())
	}
	return f.Close, nil
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
