package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestE2EHealth: forgejo-mcp is tried in a session's sandbox before a user comes, and again
// when it or the sandbox has changed; nothing of that stays, and nothing reaches the forge.
func TestE2EHealth(t *testing.T) {
	s := install(t, standin(t))
	must(t, s.Configure(nil))
	must(t, s.Enable(t.Context()))
	ready := func(want int) {
		t.Helper()
		await(t, "/readyz answers "+http.StatusText(want), func() bool { return get(t, s, "/readyz") == want })
	}
	ready(http.StatusOK)
	if status := get(t, s, "/livez"); status != http.StatusOK {
		t.Errorf("/livez: got %d", status)
	}
	if units := run(t, s, "systemctl", "list-units", "--no-legend", "--all", "fjmcp-session@*", "fjmcp-reap@*"); units != "" {
		t.Errorf("left: %s", units)
	}
	await(t, "the probe's lines", func() bool {
		return strings.Contains(journal(s, "--namespace=+fjmcp", "FJMCP_SESSION=healthprobe", "_SYSTEMD_SLICE=fjmcp-sessions.slice"), "forgejo-mcp: ")
	})
	// The broker asks itself, over connections of its own; a unit's way is the egress.
	if state, err := s.Property(t.Context(), "fjmcp-egress.service", "ActiveState"); err != nil || state != "inactive" {
		t.Errorf("the egress was used by a probe: it is %s, %v", state, err)
	}
	ill := func(what, cause, cure string, mend ...string) {
		t.Helper()
		ready(http.StatusServiceUnavailable)
		out := run(t, s, "sh", "-c", "fjmcpctl status && echo no failure || test $? = 1")
		for _, want := range []string{"broker      degraded", cause, cure} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", what, want, out)
			}
		}
		run(t, s, mend...)
		ready(http.StatusOK)
	}
	run(t, s, "chmod", "0644", backend)
	ill("not executable", "cannot be executed: want a program file with mode 0755", "to do: chmod 0755", "chmod", "0755", backend)
	const dropIn = "/etc/systemd/system/fjmcp-session@.service.d/90-local.conf"
	must(t, s.C.WriteFile(dropIn, []byte("[Service]\nRootDirectory=/nonexistent\n"), 0o644))
	run(t, s, "systemctl", "daemon-reload")
	ill("a sandbox that cannot be", "start job ended as", "to do: journalctl -u fjmcp-launcher.service", "sh", "-c", "rm "+dropIn+" && systemctl daemon-reload")
	useTools(t, connect(t, s, "alice"), "alice")
}

// TestE2EStatusChangesNothing: where the broker cannot be started, for its socket cannot,
// fjmcpctl says so however often it is asked, and the admin socket stays.
func TestE2EStatusChangesNothing(t *testing.T) {
	s := install(t, standin(t))
	must(t, s.Configure(nil))
	run(t, s, "mkdir", "-p", "/run/fjmcp/http.sock/in-the-way")
	run(t, s, "sh", "-c", "systemctl enable --now fjmcp-broker.socket || true")
	for range 25 {
		out := run(t, s, "sh", "-c", "fjmcpctl status 2>&1; test $? = 3")
		if !strings.Contains(out, "fjmcp-broker.socket has failed") || !strings.Contains(out, "hint: systemctl status fjmcp-broker.socket") {
			t.Fatalf("got %s", out)
		}
	}
	if state, err := s.Property(t.Context(), "fjmcp-admin.socket", "Result"); err != nil || state != "success" {
		t.Errorf("the admin socket is %s, %v", state, err)
	}
	run(t, s, "rm", "-r", "/run/fjmcp/http.sock")
	run(t, s, "systemctl", "restart", "fjmcp-broker.socket")
	run(t, s, "fjmcpctl", "status")
}
