package launcher_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	launchclient "github.com/fjmcp/fjmcp-broker/internal/launcher/client"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

func insideTwoSessions(t *testing.T) {
	if _, err := client().Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, b := start(t, "aaaaaaaa", nil), start(t, "abcdefghijklmnopqrstuvwxyz", nil)
	if a.report.UID == b.report.UID || a.report.UID < 61184 || a.report.UID > 65519 {
		t.Errorf("uids %d and %d: want two dynamic ones", a.report.UID, b.report.UID)
	}
	for _, s := range []*live{a, b} {
		assertConfined(t, s)
		if got := s.say(t, "hello"); got != "hello" {
			t.Errorf("MCP socket: got %q", got)
		}
		if got := s.say(t, "egress x"); got != "forge got egress x" {
			t.Errorf("egress: got %q", got)
		}
		assertUnit(t, s)
	}
	ids, err := client().List(t.Context())
	slices.Sort(ids)
	if want := []string{a.id, b.id}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("List() = %q, %v; want %q", ids, err, want)
	}
	for _, s := range []*live{a, b} {
		if err := client().Stop(t.Context(), s.id); err != nil {
			t.Error(err)
		}
		s.end(t)
		assertGone(t, s.id)
		if err := client().Stop(t.Context(), s.id); err != nil {
			t.Errorf("stopping what is gone: %v", err)
		}
	}
}

func assertConfined(t *testing.T, s *live) {
	t.Helper()
	r := s.report
	if r.Token != tokenOf(s.id) {
		t.Errorf("credential %q", r.Token)
	}
	for _, want := range []string{"FJMCP_SESSION_FORGEJO_URL=http://forgejo.localhost:3000",
		"FJMCP_SESSION_FORGEJO_MCP=/usr/bin/forgejo-mcp", "FJMCP_SESSION_PRIVATE_NETWORK=1", "FJMCP_SESSION_ROUTES=default"} {
		if !slices.Contains(r.Env, want) {
			t.Errorf("environment lacks %s: %q", want, r.Env)
		}
	}
	if !slices.Equal(r.Etc, []string{"ssl"}) || slices.Contains(r.Run, "dbus") || slices.Contains(r.Root, "home") {
		t.Errorf("sees /%q /etc/%q /run/%q", r.Root, r.Etc, r.Run)
	}
	for path, ok := range r.Reaches {
		if ok != (path == "/run/fjmcp/egress.sock" || path == "/run/systemd/journal/stdout") {
			t.Errorf("reaches %s: %v", path, ok)
		}
	}
	if !strings.HasPrefix(r.Stderr, "socket:") {
		t.Errorf("standard error is %q", r.Stderr)
	}
}

func assertUnit(t *testing.T, s *live) {
	t.Helper()
	shown := run(t, "systemctl", "show", unit(s.id), timer(s.id))
	for _, want := range []string{"DropInPaths=/usr/lib/systemd/system/fjmcp-session@.service.d/10-sandbox.conf",
		"Slice=fjmcp-sessions.slice", "CollectMode=inactive-or-failed", "KillMode=mixed", "PrivateNetwork=yes", "TimeoutStartUSec=30s"} {
		if !strings.Contains(strings.ReplaceAll(shown, "=/lib/", "=/usr/lib/"), want+"\n") {
			t.Errorf("systemctl show lacks %s", want)
		}
	}
	if strings.Contains(shown, tokenOf(s.id)) {
		t.Error("systemctl show has the token")
	}
	assertJournal(t, s)
	score := run(t, "systemd-analyze", "security", "--threshold=6", unit(s.id))
	t.Log(score[strings.LastIndex(score, "\n")+1:])
}

// assertJournal: what a session writes, in whatever way, is in the sessions' journal, all
// of one priority, and not in the main one, where the service manager alone speaks of it.
func assertJournal(t *testing.T, s *live) {
	t.Helper()
	run(t, "journalctl", "--namespace=fjmcp", "--sync")
	run(t, "journalctl", "--sync")
	journal := run(t, "journalctl", "--namespace=fjmcp", "-o", "json", "--no-pager", "_SYSTEMD_UNIT="+unit(s.id), "_SYSTEMD_SLICE=fjmcp-sessions.slice")
	for _, want := range []string{`"FJMCP_SESSION":"journal0` + s.id[:8] + `"`, `"session talks"`, `"<0>session shouts"`, `"session forges"`} {
		if !strings.Contains(journal, want) {
			t.Errorf("the sessions' journal lacks %s:\n%s", want, journal)
		}
	}
	for line := range strings.Lines(journal) {
		if strings.Contains(line, `"_TRANSPORT":"stdout"`) && !strings.Contains(line, `"PRIORITY":"6"`) {
			t.Errorf("a line of another priority: %s", line)
		}
	}
	if main := run(t, "journalctl", "-o", "json", "--no-pager", "_SYSTEMD_UNIT="+unit(s.id)); main != "" {
		t.Errorf("the main journal has\n%s", main)
	}
	if about := run(t, "journalctl", "-o", "cat", "--no-pager", "-u", unit(s.id)); !strings.Contains(about, "Started "+unit(s.id)) {
		t.Errorf("the main journal says of the unit\n%s", about)
	}
}

func insideExists(t *testing.T) {
	s := start(t, "exists00", nil)
	spec, _, _ := newSpec(t, s.id)
	assertCode(t, client().Start(t.Context(), spec), launchproto.CodeExists)
	if got := s.say(t, "still here"); got != "still here" {
		t.Errorf("the first session says %q", got)
	}
}

func insideIdle(t *testing.T) {
	s := start(t, "idle0000", func(spec *launchclient.Spec) { spec.Idle = time.Second })
	s.end(t)
	if err := client().Touch(t.Context(), s.id); !errors.Is(err, launchclient.ErrGone) {
		t.Errorf("touch: %v", err)
	}
	assertGone(t, s.id)
}

func insideMaxAge(t *testing.T) {
	s := start(t, "maxage00", func(spec *launchclient.Spec) { spec.MaxAge = time.Second })
	s.end(t)
	eventually(t, "ended", func() bool { return ended(t, s.id) })
	if err := client().Touch(t.Context(), s.id); !errors.Is(err, launchclient.ErrGone) {
		t.Errorf("touch: %v", err)
	}
	assertGone(t, s.id)
}

// insideTouch touches more often than systemd's start limit allows.
func insideTouch(t *testing.T) {
	s := start(t, "touch000", nil)
	armed := func() int {
		n, err := strconv.Atoi(run(t, "systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", timer(s.id)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 20 {
		before := armed()
		if err := client().Touch(t.Context(), s.id); err != nil {
			t.Fatal(err)
		}
		if now := armed(); now <= before {
			t.Fatalf("timer not re-armed: %d, then %d", before, now)
		}
	}
	if err := client().Touch(t.Context(), "never000"); !errors.Is(err, launchclient.ErrGone) {
		t.Errorf("touch of an unknown session: %v", err)
	}
	assertGone(t, "never000")
}

func insideTouchWhileEnding(t *testing.T) {
	s := start(t, "ending00", nil)
	s.say(t, "ignore-term")
	stopped := make(chan error)
	go func() { stopped <- client().Stop(t.Context(), s.id) }()
	eventually(t, "stopping", func() bool { return state(t, unit(s.id)) == "deactivating" })
	if err := client().Touch(t.Context(), s.id); !errors.Is(err, launchclient.ErrGone) {
		t.Errorf("touch: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	assertGone(t, s.id)
}

func insideEndsByItself(t *testing.T) {
	s := start(t, "itself00", nil)
	if _, err := s.mcp.WriteString("exit\n"); err != nil {
		t.Fatal(err)
	}
	s.end(t)
	assertGone(t, s.id) // the timer too, though nobody stops it
	if err := client().Touch(t.Context(), s.id); !errors.Is(err, launchclient.ErrGone) {
		t.Errorf("touch: %v", err)
	}
}

// insideNoCredential: systemd makes an empty credential of an empty answer, and
// fjmcp-session refuses to run on one.
func insideNoCredential(t *testing.T) {
	s := start(t, noToken, nil)
	if s.report.Token != "" {
		t.Errorf("credential %q", s.report.Token)
	}
}

func insideMissingBackend(t *testing.T) {
	const path, aside = "/usr/bin/forgejo-mcp", "/usr/bin/forgejo-mcp.aside"
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	spec, _, _ := newSpec(t, "missing0")
	e := assertCode(t, client().Start(t.Context(), spec), launchproto.CodeConfig)
	for _, want := range []string{path, "/usr/local/bin/forgejo-mcp", "FJMCP_BROKER_FORGEJO_MCP"} {
		if !strings.Contains(e.Message, want) {
			t.Errorf("message does not name %s: %s", want, e.Message)
		}
	}
	assertCode(t, checkError(t), launchproto.CodeConfig)
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	start(t, "missing1", nil)
}

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

func insideClosedToUsers(t *testing.T) {
	out := run(t, "systemd-run", "--pipe", "--wait", "--quiet", "--uid=nobody", "/bin/sh", "-c",
		"ls /run/fjmcp-private 2>&1; stat /run/fjmcp-private/egress/egress.sock 2>&1; stat /run/fjmcp-private/launcher.sock 2>&1; true")
	if strings.Count(out, "Permission denied") != 3 {
		t.Errorf("a local user sees\n%s", out)
	}
}

func insideUnits(t *testing.T) {
	if out := run(t, "systemd-analyze", "verify", "fjmcp-broker.socket", "fjmcp-broker.service",
		"fjmcp-tcp.socket", "fjmcp-admin.socket", "fjmcp-credentials.socket", "fjmcp-launcher.socket", "fjmcp-launcher.service",
		"fjmcp-egress.socket", "fjmcp-egress.service", "fjmcp-apply.service", "fjmcp-unmount.service", "fjmcp-reap@x.service", "fjmcp-sessions.slice"); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	for _, u := range []string{"fjmcp-broker", "fjmcp-launcher", "fjmcp-egress"} {
		out := run(t, "systemd-analyze", "security", "--offline=true", "--threshold=16", u+".service")
		t.Log(out[strings.LastIndex(out, "\n")+1:])
	}
}
