// Package testcache keeps what tests download, in $FJMCP_TEST_CACHE, else in
// /var/cache/fjmcp-test for root and in the user's own cache for others.
package testcache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Get returns the directory name of the cache. If there is none yet, fill gets an
// empty one to fill, which takes the name when fill succeeds and is removed when it
// fails. Several callers may fill at once: the first one's stays. Nothing may be
// written to what Get returns.
func Get(name string, fill func(dir string) error) (string, error) {
	cache, err := location()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	temp, err := os.MkdirTemp(cache, ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	if err := errors.Join(fill(temp), os.Chmod(temp, 0o755)); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil && !errors.Is(err, fs.ErrExist) { // else another was faster
		return "", err
	}
	return dir, nil
}

// location makes the directory of the cache.
func location() (string, error) {
	if dir := os.Getenv("FJMCP_TEST_CACHE"); dir != "" {
		return dir, os.MkdirAll(dir, 0o755)
	}
	dir := "/var/cache/fjmcp-test"
	if os.MkdirAll(dir, 0o755) == nil && os.Getuid() == 0 {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "fjmcp-test")
	return dir, os.MkdirAll(dir, 0o755)
}
