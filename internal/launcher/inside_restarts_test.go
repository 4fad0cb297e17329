package launcher_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// configure replaces broker.env for the test and makes it count.
func configure(t *testing.T, lines ...string) {
	t.Helper()
	const env = "/etc/fjmcp/broker.env"
	saved, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	write := func(data []byte) {
		if err := os.WriteFile(env, data, 0o644); err != nil {
			t.Fatal(err)
		}
		// A connection that comes at that moment starts it again and cancels the stop.
		eventually(t, "launcher and egress are stopped", func() bool {
			return exec.Command("systemctl", "stop", "fjmcp-launcher.service", "fjmcp-egress.service").Run() == nil
		})
	}
	t.Cleanup(func() { write(saved) })
	write([]byte(strings.Join(lines, "\n") + "\n"))
}

func insideFilesElsewhere(t *testing.T) {
	dir, err := os.MkdirTemp("/opt", "fjmcp")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	ca, mcp := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "forgejo-mcp")
	if err := errors.Join(os.WriteFile(ca, []byte("certificate"), 0o644), os.WriteFile(mcp, []byte("program"), 0o755)); err != nil {
		t.Fatal(err)
	}
	configure(t, "FJMCP_BROKER_FORGEJO_URL=http://127.0.0.1:3000/",
		"FJMCP_BROKER_FORGEJO_CA_FILE="+ca, "FJMCP_BROKER_FORGEJO_MCP="+mcp)
	s := start(t, "elsewhere", nil)
	for _, want := range []string{"FJMCP_SESSION_FORGEJO_URL=http://127.0.0.1:3000",
		"FJMCP_SESSION_FORGEJO_MCP=/run/fjmcp-session/forgejo-mcp", "FJMCP_SESSION_FORGEJO_CA_FILE=/run/fjmcp-session/forge-ca.pem"} {
		if !slices.Contains(s.report.Env, want) {
			t.Errorf("environment lacks %s: %q", want, s.report.Env)
		}
	}
	for path, want := range map[string]string{"forgejo-mcp": "program", "forge-ca.pem": "certificate"} {
		if got := s.say(t, "read /run/fjmcp-session/"+path); got != want {
			t.Errorf("%s reads %q, want %q", path, got, want)
		}
	}
}

// insideEgress leads running sessions elsewhere, and back after a fault.
func insideEgress(t *testing.T) {
	s := start(t, "egress00", nil)
	for _, url := range []string{"http://127.0.0.1:3000", "http://localhost:3000", "http://[::1]:3000", "http://git.localhost:3000"} {
		t.Run(url, func(t *testing.T) {
			configure(t, "FJMCP_BROKER_FORGEJO_URL="+url)
			if got := s.say(t, "egress x"); got != "forge got egress x" {
				t.Errorf("got %q", got)
			}
		})
	}
	const local = "FJMCP_BROKER_FORGEJO_URL=http://127.0.0.1:3000"
	t.Run("listens as root", func(t *testing.T) {
		configure(t, local, "FJMCP_BROKER_FORGEJO_USER=root")
		if got := s.say(t, "egress x"); got != "forge got egress x" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("listens as another", func(t *testing.T) {
		configure(t, local, "FJMCP_BROKER_FORGEJO_USER=nobody")
		if got := s.say(t, "egress x"); strings.Contains(got, "forge got") {
			t.Errorf("got %q", got)
		}
		said := func() bool {
			return strings.Contains(run(t, "journalctl", "-u", "fjmcp-egress.service", "-n", "2", "-o", "cat"), "uid 0 listens there, and it should be nobody")
		}
		for giveUp := time.Now().Add(time.Minute); !said(); time.Sleep(50 * time.Millisecond) { // journald takes it later
			if time.Now().After(giveUp) {
				t.Fatal("the journal does not say who listens")
			}
		}
	})
	t.Run("socket", func(t *testing.T) {
		const socket = "/run/forgejo.sock"
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		serveOn(t, l)
		run(t, "chmod", "0666", socket)
		configure(t, "FJMCP_BROKER_FORGEJO_URL=https://git.example.org", "FJMCP_BROKER_FORGEJO_SOCKET="+socket, "FJMCP_BROKER_FORGEJO_USER=root")
		if got := s.say(t, "egress x"); got != "forge got egress x" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("bad URL", func(t *testing.T) {
		configure(t, "FJMCP_BROKER_FORGEJO_URL=nonsense")
		assertCode(t, checkError(t), launchproto.CodeConfig)
	})
	if got := s.say(t, "egress x"); got != "forge got egress x" {
		t.Errorf("got %q", got)
	}
}

func show(t *testing.T, unit, property string) string {
	t.Helper()
	return run(t, "systemctl", "show", "-P", property, unit)
}

// insideBrokerRestarts has the broker's unit ended in every way. Launcher, egress
// and sessions stay, and start anew or end when their settings have changed.
func insideBrokerRestarts(t *testing.T) {
	s := start(t, "restart0", nil)
	s.say(t, "egress x")
	pids := func() string { return launcherPID(t) + " " + show(t, "fjmcp-egress.service", "MainPID") }
	before := pids()
	run(t, "systemctl", "restart", "fjmcp-broker.service")
	s.say(t, "after restart")
	broker := show(t, "fjmcp-broker.service", "MainPID")
	run(t, "kill", "-9", broker)
	eventually(t, "restarted after kill -9", func() bool {
		now := show(t, "fjmcp-broker.service", "MainPID")
		return now != "0" && now != broker && state(t, "fjmcp-broker.service") == "active"
	})
	s.say(t, "after kill -9")
	if got := s.say(t, "egress y"); got != "forge got egress y" {
		t.Errorf("egress: got %q", got)
	}
	if now := pids(); now != before {
		t.Errorf("launcher and egress had pids %s and have %s", before, now)
	}

	env, err := os.ReadFile("/etc/fjmcp/broker.env")
	if err != nil {
		t.Fatal(err)
	}
	change := func(data string) {
		t.Helper()
		if err := os.WriteFile("/etc/fjmcp/broker.env", []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, "systemctl", "restart", "fjmcp-broker.service")
	}
	change(string(env) + "FJMCP_BROKER_SESSIONS_PER_USER=9\n")
	s.say(t, "after a setting of the launcher's alone")
	if old, now := strings.Fields(before), strings.Fields(pids()); now[0] == old[0] || now[1] != old[1] {
		t.Errorf("launcher and egress had pids %s and have %s", old, now)
	}
	idle := string(env) + "FJMCP_BROKER_SESSION_IDLE_TIMEOUT=5m\n"
	change(idle)
	s.end(t) // its timer has the former idle time
	assertGone(t, s.id)
	s, before = start(t, "restart2", nil), pids()
	change(idle + "FJMCP_BROKER_FORGEJO_ROUTES=close:/elsewhere\n")
	s.end(t)
	assertGone(t, s.id)
	old := strings.Fields(before)
	now := strings.Fields(pids())
	if now[0] == old[0] || now[1] == old[1] {
		t.Errorf("launcher and egress had pids %s and have %s", old, now)
	}
	after := start(t, "restart1", nil)
	if !slices.Contains(after.report.Env, "FJMCP_SESSION_ROUTES=close:/elsewhere") {
		t.Errorf("started with %q", after.report.Env)
	}
	change(string(env))
	run(t, "journalctl", "--sync")
	log := run(t, "journalctl", "-o", "cat", "-u", "fjmcp-broker.service")
	for _, want := range []string{`credential forgejo-client-secret: "\n" <nil>`, `credential store-key: "\n" <nil>`} {
		if !strings.Contains(log, want) {
			t.Errorf("journal lacks %s:\n%s", want, log)
		}
	}
}

func launcherPID(t *testing.T) string {
	t.Helper()
	return run(t, "systemctl", "show", "-P", "MainPID", "fjmcp-launcher.service")
}

// insideReexec breaks the launcher's connection to PID 1, then kills the
// launcher, and counts its descriptors.
func insideReexec(t *testing.T) {
	s := start(t, "reexec00", nil)
	descriptors := func() int {
		fds, err := os.ReadDir("/proc/" + launcherPID(t) + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	if err := client().Touch(t.Context(), s.id); err != nil {
		t.Fatal(err)
	}
	before := descriptors()
	for range 5 { // the launcher may have learned of it by then, or not
		run(t, "systemctl", "daemon-reexec")
		if err := client().Touch(t.Context(), s.id); err != nil {
			t.Errorf("after daemon-reexec: %v", err)
		}
	}
	for range 50 {
		spec, _, _ := newSpec(t, s.id)
		assertCode(t, client().Start(t.Context(), spec), launchproto.CodeExists)
	}
	eventually(t, "descriptors closed", func() bool { return descriptors() <= before })
	run(t, "kill", "-9", launcherPID(t))
	if err := client().Touch(t.Context(), s.id); err != nil {
		t.Errorf("after kill -9 of the launcher: %v", err)
	}
	if got := s.say(t, "alive"); got != "alive" {
		t.Errorf("session says %q", got)
	}
}

// insideSocketRestarts: what the one socket brought up goes with it, also the
// services, which would keep their sockets from coming back.
func insideSocketRestarts(t *testing.T) {
	start(t, "socket00", nil)
	// Stopped in its ExecStartPre= the service counts as failed, which is no fault
	// of the sockets. An earlier case may have just made it start.
	eventually(t, "fjmcp-egress.service has started or stopped", func() bool {
		s := state(t, "fjmcp-egress.service")
		return s != "activating" && s != "deactivating"
	})
	run(t, "systemctl", "stop", "fjmcp-broker.socket")
	for _, u := range []string{"fjmcp-broker.service", "fjmcp-launcher.service", "fjmcp-egress.service",
		"fjmcp-launcher.socket", "fjmcp-credentials.socket", "fjmcp-egress.socket", "fjmcp-admin.socket", "fjmcp-tcp.socket"} {
		// systemctl waits for the stop that it asked for, not for those that follow
		// from it, which wait for the services.
		eventually(t, u+" is inactive", func() bool { return state(t, u) == "inactive" })
	}
	run(t, "systemctl", "start", "fjmcp-broker.socket")
	s := start(t, "socket01", nil)
	if got := s.say(t, "egress x"); got != "forge got egress x" {
		t.Errorf("egress: got %q", got)
	}
}
