package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestE2EHealth: forgejo-mcp is tried in a session's sandbox before a user comes, and again
// when a user's session could not start, for whatever reason; nothing of that stays, and
// nothing reaches the forge.
// What an operator is told is TestE2EBreaks'.
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
