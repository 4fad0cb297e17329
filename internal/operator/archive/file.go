package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Save writes a backup to a file that only this user can read. The file is there when it
// is on the disk and was read again; before, and whenever something fails, what was there
// stays as it was. Over one that is there it writes only with replace; else the error wraps
// fs.ErrExist.
func Save(path string, replace bool, fill func(io.Writer) error) (*Backup, error) {
	if info, err := os.Stat(path); err == nil {
		switch {
		case info.IsDir():
			return nil, fmt.Errorf("%s is a directory; name a file in it", path)
		case !replace:
			return nil, &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is no regular file", path)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("cannot write the backup: %w", err)
	}
	b, err := save(f, fill)
	if err = errors.Join(err, f.Close()); err == nil {
		err = name(f.Name(), path, replace)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return b, nil
}

// save writes the backup and reads what has come to the disk.
func save(f *os.File, fill func(io.Writer) error) (*Backup, error) {
	if err := fill(f); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("cannot write the backup: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	b, err := Read(f, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("the backup is not usable: %w", err)
	}
	return b, nil
}

// name gives a written file its name, over no other's but with replace.
func name(from, to string, replace bool) error {
	flags := uint(unix.RENAME_NOREPLACE)
	if replace {
		flags = 0
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not on every file system
		if _, there := os.Lstat(to); !replace && there == nil {
			err = unix.EEXIST
		} else {
			err = os.Rename(from, to)
		}
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: to, Err: err}
	}
	return syncDir(filepath.Dir(to))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
