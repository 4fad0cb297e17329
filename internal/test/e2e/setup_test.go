package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestE2ESetup goes from an installed package to the first call with one command, and says
// how many there were in all. Run again, it leaves alone what is well.
func TestE2ESetup(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { setUp(t, suite) })
	}
}

func setUp(t *testing.T, suite string) {
	began, s := time.Now(), installIn(t, suite, "")
	must(t, s.C.CopyIn(standin(t), "/root/forgejo-mcp", 0o755))
	token, err := s.Forge.PersonalToken("alice", "write:user")
	must(t, err)
	must(t, s.C.WriteFile("/root/token", []byte(token+"\n"), 0o600))
	commands := []string{"apt install fjmcp-broker"} // which install has run
	as := func(command string) string {
		t.Helper()
		commands = append(commands, command)
		out, err := s.C.Shell(t.Context(), command+" 2>&1")
		must(t, err)
		return out
	}
	as("install -m 0755 /root/forgejo-mcp /usr/local/bin/forgejo-mcp")
	const setup = "fjmcpctl setup --public-url " + PublicURL + " --forgejo-url " + ForgeURL + " --token-file /root/token --yes"
	out := as(setup)
	for _, want := range []string{"for the account alice", "Enabling fjmcp-broker.socket … done", "\nbroker             ok "} {
		if !strings.Contains(strings.ReplaceAll(out, "….", "…"), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	c := connect(t, s, "bob")
	useTools(t, c, "bob")
	t.Logf("%d commands and %.0f s to the first call; Caddy takes 3 more:\n  %s", len(commands), time.Since(began).Seconds(), strings.Join(commands, "\n  "))
	if len(commands) > 8-3 {
		t.Errorf("%d commands, want 8 with Caddy's at most", len(commands))
	}
	if got := run(t, s, "stat", "-c", "%a %U:%G", "/etc/fjmcp/credentials", secretFile, envFile); got != "700 root:root\n600 root:root\n644 root:root\n" {
		t.Errorf("who may read the files:\n%s", got)
	}
	secret, err := s.C.ReadFile(secretFile)
	must(t, err)
	log := run(t, s, "journalctl", "-o", "export")
	for _, hidden := range []string{token, strings.TrimSpace(string(secret))} {
		if strings.Contains(out+log, hidden) {
			t.Error("a secret is shown")
		}
	}

	before, err := s.Property(t.Context(), "fjmcp-broker.service", "MainPID")
	must(t, err)
	out = run(t, s, "sh", "-c", "fjmcpctl setup --yes && fjmcpctl setup --dry-run")
	if strings.Count(out, "unchanged: "+envFile) != 2 || strings.Count(out, "unchanged: fjmcp-broker.socket") != 2 {
		t.Errorf("the second run:\n%s", out)
	}
	if after, err := s.Property(t.Context(), "fjmcp-broker.service", "MainPID"); err != nil || before != after {
		t.Errorf("the broker was restarted: its pid was %s and is %s, %v", before, after, err)
	}

	// The application is changed by somebody else: its secret is dead.
	id := strings.TrimSpace(run(t, s, "sed", "-n", "s/^FJMCP_BROKER_FORGEJO_CLIENT_ID=//p", envFile))
	_, err = s.Forge.RotateSecret(id)
	must(t, err)
	if out = run(t, s, "sh", "-c", setup); !strings.Contains(out, "Restarting the broker") || !strings.Contains(out, "\nbroker             ok ") {
		t.Errorf("with a dead secret:\n%s", out)
	}
	useTools(t, connect(t, s, "bob"), "bob")
}
