package e2e

import (
	"slices"
	"strings"
	"testing"
)

func exists(t *testing.T, s *System, path string) bool {
	t.Helper()
	out, err := s.C.Shell(t.Context(), "if [ -e "+path+" ]; then echo yes; fi")
	must(t, err)
	return out != ""
}

func storeKey(t *testing.T, s *System) string {
	t.Helper()
	if out := run(t, s, "stat", "-c", "%a %U %s", "/etc/fjmcp/credentials/store-key"); out != "600 root 32\n" {
		t.Errorf("the store key has %q", out)
	}
	b, err := s.C.ReadFile("/etc/fjmcp/credentials/store-key")
	must(t, err)
	return string(b)
}

// TestE2EPackage takes the package through upgrade, removal, reinstallation and
// purge, with a session running.
func TestE2EPackage(t *testing.T) {
	s := enabled(t, standin(t), nil)
	key := storeKey(t, s)
	c := connect(t, s, "alice")
	useTools(t, c, "alice")

	t.Run("upgrade", func(t *testing.T) {
		before, err := s.Property(t.Context(), "fjmcp-broker.service", "MainPID")
		must(t, err)
		since, err := s.Property(t.Context(), "fjmcp-broker.socket", "ActiveEnterTimestampMonotonic")
		must(t, err)
		running := units(t, s)
		must(t, s.InstallDeb(t.Context()))
		after, err := s.Property(t.Context(), "fjmcp-broker.service", "MainPID")
		must(t, err)
		if before == after || after == "0" {
			t.Errorf("the broker's pid was %s and is %s", before, after)
		}
		if now, err := s.Property(t.Context(), "fjmcp-broker.socket", "ActiveEnterTimestampMonotonic"); err != nil || now != since {
			t.Errorf("the socket was restarted, %v", err)
		}
		if storeKey(t, s) != key {
			t.Error("the store key has changed")
		}
		useTools(t, c, "alice")
		if now := units(t, s); len(running) != 1 || !slices.Equal(running, now) {
			t.Errorf("the units were %+v and are %+v", running, now)
		}
	})
	t.Run("remove", func(t *testing.T) {
		run(t, s, "apt-get", "remove", "-q", "-y", "fjmcp-broker")
		if left := active(t, s); len(left) > 0 {
			t.Errorf("still there: %v", left)
		}
		if out := run(t, s, "sh", "-c", "ps -eo user:32,args | grep -E '^fj|fjmcp' | grep -v grep || true"); out != "" {
			t.Errorf("still running:\n%s", out)
		}
		if out := run(t, s, "systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating", "systemd-journald*@fjmcp*"); out != "" {
			t.Errorf("the sessions' journal still runs:\n%s", out)
		}
		if exists(t, s, "/var/lib/fjmcp-session-root") {
			t.Error("left behind:\n" + run(t, s, "find", "/var/lib/fjmcp-session-root"))
		}
		for path, want := range map[string]bool{
			"/usr/sbin/fjmcp-broker": false, "/run/fjmcp-private": false,
			envFile: true, secretFile: true, "/var/lib/fjmcp/fjmcp.db": true, "/var/log/journal/*.fjmcp": true,
		} {
			if exists(t, s, path) != want {
				t.Errorf("%s: want it there %t", path, want)
			}
		}
	})
	t.Run("reinstall", func(t *testing.T) {
		must(t, s.InstallDeb(t.Context()))
		if storeKey(t, s) != key {
			t.Error("the store key has changed")
		}
		must(t, s.Enable(t.Context()))
		useTools(t, c, "alice") // the client still has its tokens
	})
	t.Run("purge", func(t *testing.T) {
		run(t, s, "apt-get", "purge", "-q", "-y", "fjmcp-broker")
		for _, path := range []string{"/etc/fjmcp", "/var/lib/fjmcp", "/run/fjmcp", "/var/log/journal/*.fjmcp", "/etc/systemd/system/sockets.target.wants/fjmcp-broker.socket"} {
			if exists(t, s, path) {
				t.Errorf("%s is left", path)
			}
		}
		if left := active(t, s); len(left) > 0 {
			t.Errorf("still there: %v", left)
		}
	})
	t.Run("install anew", func(t *testing.T) {
		must(t, s.InstallDeb(t.Context()))
		if storeKey(t, s) == key {
			t.Error("a purge kept the store key")
		}
		if got := strings.TrimSpace(run(t, s, "sh", "-c", "systemctl is-enabled fjmcp-broker.socket || true")); got != "disabled" {
			t.Errorf("the socket is %s", got)
		}
		if out := active(t, s); len(out) > 0 {
			t.Errorf("running: %v", out)
		}
	})
}
