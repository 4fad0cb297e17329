package npm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/fjmcp/fjmcp-broker/internal/test/testcache"
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
	return testcache.Get(name, func(dir string) error { return install(ctx, source, dir) })
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
	return nil
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
