package nspawn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/testcache"
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
// "trixie"), building it if the cache (package testcache) has none of this month.
// Building takes half a minute and needs a Debian mirror.
func Root(ctx context.Context, suite string) (string, error) {
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
	return tree(ctx, suite, args)
}

// Extracted is Root for a tree that is not booted: packages of the suite and what they
// depend on, unpacked and not configured. It needs mmdebstrap alone.
func Extracted(ctx context.Context, suite string, packages ...string) (string, error) {
	return tree(ctx, suite, []string{"--variant=extract", "--quiet", "--include=" + strings.Join(packages, ",")})
}

// tree makes what mmdebstrap makes of the suite with args, or finds it.
func tree(ctx context.Context, suite string, args []string) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(args, "\n")))
	name := fmt.Sprintf("%s-%s-%s", suite, time.Now().UTC().Format("200601"), hex.EncodeToString(sum[:4]))
	return testcache.Get(name, func(dir string) error {
		cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, dir)...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 20 * time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build a %s tree: %w\n%s", suite, err, tail(string(out), 2000))
		}
		return nil
	})
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
