// Package npm installs programs from the npm registry that tests and benchmarks hold
// the broker against. They are no part of the project: their versions are pinned by a
// package-lock.json in the directory of the package that wants them, and they are
// kept in the test cache (internal/test/testcache).
//
// A lock file names no registry; the one that npm is configured for is used:
//
//	npm install --package-lock-only --omit-lockfile-registry-resolved
package npm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/fjmcp/fjmcp-broker/internal/test/testcache"
)

// Install returns a directory whose node_modules holds what the package.json and
// package-lock.json in source say, from the cache if an earlier call left it
// there. Nothing may be written to it. Scripts of packages do not run. The error
// is exec.ErrNotFound when this machine has no npm.
func Install(ctx context.Context, source string) (string, error) {
	manifest, err1 := os.ReadFile(filepath.Join(source, "package.json"))
	lock, err2 := os.ReadFile(filepath.Join(source, "package-lock.json"))
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(slices.Clone(manifest), lock...))
	return testcache.Get("npm-"+hex.EncodeToString(sum[:8]), func(dir string) error {
		err := errors.Join(os.WriteFile(filepath.Join(dir, "package.json"), manifest, 0o644),
			os.WriteFile(filepath.Join(dir, "package-lock.json"), lock, 0o644))
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot install what %s/package.json asks for: %w: %s", source, err, out)
		}
		return nil
	})
}
