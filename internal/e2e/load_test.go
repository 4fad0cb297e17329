package e2e

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rounds is how often the broker is ended in each way under load.
const (
	fleetSize = 20
	rounds    = 20
)

var fleetSettings = map[string]string{"FJMCP_BROKER_SESSIONS_PER_USER": strconv.Itoa(fleetSize)}

// Twenty sessions under steady calls outlive twenty restarts and twenty kills. What
// was answered was done once, and nothing fails but what was in flight at a kill.
func TestE2ELoad(t *testing.T) {
	s := enabled(t, standin(t), fleetSettings)
	f := launch(t, s, fleetSize, "alice", "bob")
	f.next(func() {})
	before := unitsOf(t, s)
	if len(before) != fleetSize {
		t.Fatalf("%d units for %d sessions", len(before), fleetSize)
	}
	for range rounds {
		f.next(func() { restart(t, s) })
	}
	if now := unitsOf(t, s); !slices.Equal(before, now) {
		t.Errorf("restarts have changed the units from %q to %q", before, now)
	}
	for range rounds {
		f.next(f.kill)
	}
	answered, failed := f.settle()
	t.Logf("%d calls answered, %d lost to %d kills", answered, failed, rounds)
	if most := rounds * fleetSize; failed > most {
		t.Errorf("%d calls failed, more than were in flight at kills: %d", failed, most)
	}
	f.replaced(before)
	stored(t, s, fleetSize)
	f.end()
	nothingLeft(t, s)
}

// replaced wants as many units as before, and of each that is another than before a
// line that says why.
func (f *fleet) replaced(before []string) {
	f.t.Helper()
	now := unitsOf(f.t, f.s)
	if len(now) != len(before) {
		f.t.Errorf("%d units ran and %d run", len(before), len(now))
	}
	log := journal(f.s, "-u", brokerUnit)
	for _, unit := range before {
		if !slices.Contains(now, unit) && !strings.Contains(log, unit) {
			f.t.Errorf("%s is gone without a word", unit)
		}
	}
}

// unitsOf names the session units, sorted.
func unitsOf(t *testing.T, s *System) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(run(t, s, "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "fjmcp-session@*.service")) {
		names = append(names, strings.Fields(line)[0])
	}
	slices.Sort(names)
	return names
}

// leftovers prints whatever a session leaves that outlives it: processes, units
// and their timers, cgroups, mounts, credentials, users, rows of running units, and
// descriptors.
const leftovers = `
ps -eo args | grep -E '^(/usr/libexec/fjmcp/fjmcp-session|/usr/bin/forgejo-mcp)' | sed 's/^/process /' || true
systemctl list-units --all --plain --no-legend 'fjmcp-session@*' 'fjmcp-reap@*' | sed 's/^/unit /'
find /run/systemd/transient -name 'fjmcp-*@*' | sed 's/^/unit file /'
find /sys/fs/cgroup -path '*fjmcp-session@*' -name cgroup.procs | sed 's/^/cgroup /'
cat /proc/1/mountinfo | grep 'fjmcp-session@' | sed 's/^/mount /' || true
find /run/credentials -name '*fjmcp-session@*' | sed 's/^/credential /'
find /run/systemd/dynamic-uid -name 'fjs-*' | sed 's/^/user /'
sqlite3 -readonly /var/lib/fjmcp/fjmcp.db "SELECT 'row with unit ' || unit_id FROM sessions WHERE unit_id <> ''"
systemctl show --property=NFileDescriptorStore fjmcp-broker.service | grep -v '=0$' || true
`

// nothingLeft waits until no session runs and nothing tells that one ever did, but
// for rows of dormant ones.
func nothingLeft(t *testing.T, s *System) {
	t.Helper()
	var left string
	defer func() {
		if t.Failed() && left != "" {
			t.Logf("left:\n%s", left)
		}
	}()
	await(t, "nothing is left of the sessions", func() bool {
		out, err := s.C.Shell(t.Context(), leftovers)
		must(t, err)
		left = out
		return left == ""
	})
}
