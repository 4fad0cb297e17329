package testcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Unpacked returns a directory with the files of Debian packages for this release and
// architecture. Nothing is installed.
func Unpacked(ctx context.Context, packages ...string) (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(string(release) + strings.Join(packages, " ")))
	return Get("deb-"+hex.EncodeToString(sum[:8]), func(dir string) error { return unpack(ctx, dir, packages) })
}

// unpack takes the package lists of the system, or where these know nothing of the
// packages or are out of date, new ones that are not kept.
func unpack(ctx context.Context, dir string, packages []string) error {
	debs, err := os.MkdirTemp("", "fjmcp-debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	download := append([]string{"download"}, packages...)
	if apt(ctx, debs, download...) != nil {
		own := []string{"-o", "APT::Sandbox::User="}
		for option, part := range map[string]string{"Dir::State::Lists": "lists/partial", "Dir::Cache": "cache/archives/partial"} {
			if err := os.MkdirAll(filepath.Join(debs, part), 0o755); err != nil {
				return err
			}
			own = append(own, "-o", option+"="+filepath.Join(debs, strings.Split(part, "/")[0]))
		}
		if err := apt(ctx, debs, append(own, "update")...); err != nil {
			return err
		}
		if err := apt(ctx, debs, append(own, download...)...); err != nil {
			return err
		}
	}
	files, _ := filepath.Glob(filepath.Join(debs, "*.deb"))
	if len(files) != len(packages) {
		return fmt.Errorf("apt-get download %s gave %d files", strings.Join(packages, " "), len(files))
	}
	for _, file := range files {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", file, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("cannot unpack %s: %w: %s", filepath.Base(file), err, out)
		}
	}
	return nil
}

func apt(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot get Debian packages: apt-get %s: %w %s", args[len(args)-1], err, strings.TrimSpace(string(out)))
	}
	return nil
}
