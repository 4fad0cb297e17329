package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestE2EHealth: forgejo-mcp is tried in a session's sandbox before a user comes, and again
// when what no file tells has changed; nothing of that stays, and nothing reaches the forge.
// What an operator is told is TestE2EBreaks'.
func TestE2EHealth(t *testing.T) {
	s := install(t, standin(t))
	must(t, s.Configure(nil))
	must(t, s.Enable(t.Context()))
	ready := func(want int) {
		t.Helper()
		await(t, "/readyz answers "+http.StatusText(want), func() bool { return get(t, s, "/readyz") == want })
	}
	probes := func() int {
		return strings.Count(journal(s, "--namespace=+fjmcp", "FJMCP_SESSION=healthprobe", "_SYSTEMD_SLICE=fjmcp-sessions.slice"), "forgejo-mcp: ")
	}
	ready(http.StatusOK)
	if status := get(t, s, "/livez"); status != http.StatusOK {
		t.Errorf("/livez: got %d", status)
	}
	if units := run(t, s, "systemctl", "list-units", "--no-legend", "--all", "fjmcp-session@*", "fjmcp-reap@*"); units != "" {
		t.Errorf("left: %s", units)
	}
	await(t, "the probe's lines", func() bool { return probes() > 0 })
	// The broker asks itself, over connections of its own; a unit's way is the egress.
	if state, err := s.Property(t.Context(), "fjmcp-egress.service", "ActiveState"); err != nil || state != "inactive" {
		t.Errorf("the egress was used by a probe: it is %s, %v", state, err)
	}

	before := probes()
	must(t, s.C.WriteFile(dropIn, []byte("[Service]\nRootDirectory=/nonexistent\n"), 0o644))
	await(t, "a probe of a drop-in that systemd has not read", func() bool { get(t, s, "/readyz"); return probes() > before })
	run(t, s, "systemctl", "daemon-reload")
	ready(http.StatusServiceUnavailable)
	run(t, s, "systemctl", "revert", "fjmcp-session@.service")
	ready(http.StatusOK)

	const program = "/usr/libexec/fjmcp/fjmcp-session"
	run(t, s, "chmod", "0644", program)
	if _, err := s.Connect(t.Context(), "alice", nil); err == nil {
		t.Error("a session starts without its program")
	}
	ready(http.StatusServiceUnavailable)
	run(t, s, "chmod", "0755", program)
	ready(http.StatusOK)
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
