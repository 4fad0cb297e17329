// Package testcache keeps what tests download, in $FJMCP_TEST_CACHE, else in
// /var/cache/fjmcp-test for root and in the user's own cache for others.
package testcache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// kept is how long something is good. Trees of containers have the month in their name;
// a container that still runs on one would be two months old.
const kept = 62 * 24 * time.Hour

// Get returns the directory name of the cache. If there is none yet, fill gets an
// empty one to fill, which takes the name when fill succeeds and is removed when it
// fails. One caller at a time fills, others wait for it. Nothing may be written to what
// Get returns. What is older than two months goes when something new comes.
func Get(name string, fill func(dir string) error) (string, error) {
	cache, err := location()
	if err != nil {
		return "", fmt.Errorf("cannot make the cache: %w", err)
	}
	dir := filepath.Join(cache, name)
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("cannot lock the cache: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("cannot lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	temp := dir + ".new" // an older one is a dead run's
	if err := os.RemoveAll(temp); err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	if err := os.Mkdir(temp, 0o755); err != nil {
		return "", err
	}
	now := time.Now() // prune goes by it; fill may set another
	if err := errors.Join(fill(temp), os.Chmod(temp, 0o755), os.Chtimes(temp, now, now)); err != nil {
		return "", err
	}
	prune(cache, now)
	return dir, os.Rename(temp, dir)
}

func prune(cache string, now time.Time) {
	entries, _ := os.ReadDir(cache)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > kept {
			os.RemoveAll(filepath.Join(cache, e.Name()))
		}
	}
}

// location makes the directory of the cache.
func location() (dir string, err error) {
	dir = os.Getenv("FJMCP_TEST_CACHE")
	if dir == "" && os.Getuid() == 0 {
		dir = "/var/cache/fjmcp-test"
	} else if dir == "" {
		if dir, err = os.UserCacheDir(); err != nil {
			return "", err
		}
		dir = filepath.Join(dir, "fjmcp-test")
	}
	return dir, os.MkdirAll(dir, 0o755)
}
