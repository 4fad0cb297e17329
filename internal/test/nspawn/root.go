package nspawn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// packages is what a tree holds beyond Debian's essential set: systemd itself,
// what fjmcp-broker depends on (so that it installs without a network), and
// what tests look around with.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "ca-certificates",
	"iproute2", "procps", "curl", "jq", "openssl", "sqlite3",
}

// timers would start on their own in the middle of a test.
var timers = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
	"e2scrub_all.timer", "fstrim.timer",
}

// Check reports what this machine lacks to build and boot containers: root
// rights, mmdebstrap, systemd-nspawn, or a usable cgroup hierarchy.
func Check() error {
	if os.Geteuid() != 0 {
		return errors.New("containers need root")
	}
	for _, tool := range []string{"mmdebstrap", "systemd-nspawn", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("containers need %s (Debian packages mmdebstrap, systemd-container, util-linux)", tool)
		}
	}
	_, err := hierarchies()
	return err
}

// Root returns the directory of a Debian tree of the suite ("bookworm",
// "trixie"), building it if there is none of this month. Trees stand in
// $FJMCP_TEST_CACHE, else in /var/cache/fjmcp-test; building takes half a
// minute and needs a Debian mirror. Callers must not change the tree.
func Root(ctx context.Context, suite string) (string, error) {
	return tree(ctx, suite, rootArgs())
}

// Extracted is Root for a tree that is not booted: packages of the suite and what they
// depend on, unpacked and not configured. It needs mmdebstrap alone.
func Extracted(ctx context.Context, suite string, packages ...string) (string, error) {
	return tree(ctx, suite, []string{"--variant=extract", "--quiet", "--include=" + strings.Join(packages, ",")})
}

// tree makes what mmdebstrap makes of the suite with args, or finds it.
func tree(ctx context.Context, suite string, args []string) (string, error) {
	cache := cacheDir()
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the container cache: %w", err)
	}
	dir := filepath.Join(cache, treeName(suite, args, time.Now()))
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := build(ctx, suite, dir, args); err != nil {
		return "", err
	}
	prune(cache, time.Now())
	return dir, nil
}

func cacheDir() string {
	if dir := os.Getenv("FJMCP_TEST_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/fjmcp-test"
}

func treeName(suite string, args []string, now time.Time) string {
	sum := sha256.Sum256([]byte(strings.Join(args, "\n")))
	return fmt.Sprintf("%s-%s-%s", suite, now.UTC().Format("200601"), hex.EncodeToString(sum[:4]))
}

// lock waits for the exclusive lock of a file.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the container cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// build makes the tree beside its place and renames it there when complete.
// The caller holds the lock, so an older half-built tree is a dead run's.
func build(ctx context.Context, suite, dir string, args []string) error {
	tmp := dir + ".building"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("cannot clear %s: %w", tmp, err)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, tmp)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(tmp)
		return fmt.Errorf("cannot build a %s tree: %w\n%s", suite, err, tail(string(out), 2000))
	}
	now := time.Now()
	if err := os.Chtimes(tmp, now, now); err != nil { // it has a package's, and prune goes by it
		return fmt.Errorf("cannot date the %s tree: %w", suite, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("cannot put the %s tree in place: %w", suite, err)
	}
	return nil
}

func rootArgs() []string {
	args := []string{
		"--variant=minbase", "--quiet",
		"--include=" + strings.Join(packages, ","),
		// The container has no network: a resolver address could only delay it.
		`--customize-hook=: > "$1/etc/resolv.conf"`,
		`--customize-hook=echo fjmcp-test > "$1/etc/hostname"`,
	}
	for _, t := range timers {
		args = append(args, `--customize-hook=ln -s /dev/null "$1/etc/systemd/system/`+t+`"`)
	}
	return args
}

// prune removes trees of past months. A container that still runs on one would
// be two months old.
func prune(cache string, now time.Time) {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > 62*24*time.Hour {
			os.RemoveAll(filepath.Join(cache, e.Name()))
		}
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
