package npm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// manifests are the files that say what to install.
var manifests = []string{"package.json", "package-lock.json"}

// Install returns a directory whose node_modules holds what the package.json and
// package-lock.json in source say, from the cache if an earlier call left it
// there. Nothing may be written to it. Scripts of packages do not run. The error
// is exec.ErrNotFound when this machine has no npm.
func Install(ctx context.Context, source string) (string, error) {
	name, err := cacheName(source)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	temp, err := os.MkdirTemp(cache, ".npm-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	if err := install(ctx, source, temp); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil && !errors.Is(err, fs.ErrExist) { // else another was faster
		return "", err
	}
	return dir, nil
}

func install(ctx context.Context, source, dir string) error {
	for _, name := range manifests {
		b, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot install what %s asks for: %w: %s", filepath.Join(source, manifests[0]), err, out)
	}
	return os.Chmod(dir, 0o755)
}

// cacheName changes with what is to be installed.
func cacheName(source string) (string, error) {
	sum := sha256.New()
	for _, name := range manifests {
		b, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		sum.Write(b)
	}
	return "npm-" + hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// cacheDir makes the directory of what tests download: the system's for root,
// else the user's.
func cacheDir() (string, error) {
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
