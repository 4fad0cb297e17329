package e2e

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// Sessions that write without end, two at once and then one after another, push nothing
// out of a small main journal, and what they get into their own is bounded. Their units
// tell local users no name.
func TestE2EFlood(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { flood(t, suite) })
	}
}

func flood(t *testing.T, suite string) {
	s := installIn(t, suite, standin(t))
	must(t, s.C.WriteFile("/etc/systemd/journald.conf.d/small.conf", []byte("[Journal]\nSystemMaxUse=4M\nSystemMaxFileSize=1M\n"), 0o644))
	run(t, s, "systemctl", "restart", "systemd-journald.service")
	must(t, s.Configure(nil))
	must(t, s.Enable(t.Context()))
	began := time.Now()
	alice := connect(t, s, "alice")
	useTools(t, alice, "alice")
	t.Run("names", func(t *testing.T) { checkNames(t, s) })
	before := len(entries(t, s))

	const lines, width, later = 20_000, 1000, 6
	shout := func(c *loginclient.Client) {
		call(t, c, "flood", map[string]any{"what": "stderr", "lines": lines, "bytes": width})
	}
	second, err := alice.Again(t.Context())
	must(t, err)
	var both sync.WaitGroup
	both.Go(func() { shout(alice) })
	both.Go(func() { shout(second) })
	both.Wait()
	must(t, second.Close())
	for range later {
		c, err := alice.Again(t.Context())
		must(t, err)
		shout(c)
		must(t, c.Close())
	}
	await(t, "one unit is left", func() bool { return len(units(t, s)) == 1 })
	seconds := int(time.Since(began)/time.Second) + 1

	run(t, s, "journalctl", "--sync")
	if login := entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service", "FJMCP_EVENT=login", "FJMCP_USER=alice"); len(login) != 1 {
		t.Errorf("the audit has %d logins of alice, want 1", len(login))
	}
	if more := len(entries(t, s)) - before; more < later || more > 40*(later+2) {
		t.Errorf("%d entries more are in the main journal", more)
	}
	if own := entries(t, s, "_SYSTEMD_SLICE=fjmcp-sessions.slice"); len(own) > 0 {
		t.Errorf("the main journal has %d lines of sessions, the first is %.300v", len(own), own[0])
	}
	run(t, s, "journalctl", "--namespace=fjmcp", "--sync")
	var bytes, said int
	for _, e := range entries(t, s, "--namespace=fjmcp", "_SYSTEMD_SLICE=fjmcp-sessions.slice") {
		bytes += len(e["MESSAGE"])
		if strings.HasPrefix(e["MESSAGE"], `level=WARN msg="the session wrote more than its log takes" lines_left_out=`) {
			said++
		} else if !strings.HasPrefix(e["MESSAGE"], "forgejo-mcp: ") || e["FJMCP_SESSION"] == "" {
			t.Fatalf("an entry of nobody's: %v", e)
		}
	}
	// All that a user has at once, and what comes to it and to two units each second.
	most := 2*control.MostOutput + 3*control.OutputPerSecond*seconds
	t.Logf("%d bytes of %d came into the sessions' journal in %d s, %d are allowed", bytes, (later+2)*lines*width, seconds, most)
	if bytes < control.MostOutput || bytes > most || said < later+1 {
		t.Errorf("what was left out was said %d times", said)
	}
}

func entries(t *testing.T, s *System, match ...string) []nspawn.Entry {
	t.Helper()
	found, err := s.C.Journal(t.Context(), match...)
	must(t, err)
	return found
}

// checkNames looks at all that systemd tells a local user of running sessions.
func checkNames(t *testing.T, s *System) {
	for _, script := range []string{
		"systemctl show 'fjmcp-session@*' 'fjmcp-reap@*'",
		"systemctl status --no-pager --full 'fjmcp-session@*' || true",
		"systemctl list-units --all --no-pager 'fjmcp-*'",
		"grep -r . /run/systemd/transient/fjmcp-*",
		"ls -l /run/systemd/units/*fjmcp-session@*",
	} {
		r, err := s.C.Exec(t.Context(), nspawn.Cmd{Argv: []string{"/bin/sh", "-c", script}, User: "nobody"})
		must(t, err)
		if r.Code != 0 || !strings.Contains(r.Stdout, "fjmcp-session@") {
			t.Errorf("%s: exit status %d, %s", script, r.Code, r.Stderr)
		}
		for line := range strings.Lines(r.Stdout) {
			if strings.Contains(line, "alice") {
				t.Errorf("%s tells a local user %s", script, line)
			}
		}
	}
}
