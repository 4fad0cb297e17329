package launcher_test

import (
	"errors"
	"os"
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
