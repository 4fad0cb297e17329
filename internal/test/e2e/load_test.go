package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

var fleetSettings = map[string]string{"FJMCP_BROKER_SESSIONS_PER_USER": strconv.Itoa(fleetSize), "FJMCP_BROKER_CALLS_PER_MINUTE": "0"}

// Twenty sessions under steady calls outlive twenty restarts, an upgrade and twenty
// kills. What was answered was done once, and nothing fails but what was in flight
// at a kill.
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
	f.next(func() { upgrade(t, s) })
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
	kept(t, s, fleetSize)
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

// nextVersion is what upgrade installs; it sorts after every version there will be.
const nextVersion = "9999.0.0"

// upgrade installs the package under test once more, as a later version whose
// broker says so.
func upgrade(t *testing.T, s *System) {
	t.Helper()
	now, err := Deb()
	must(t, err)
	tree, next := t.TempDir(), filepath.Join(scratch, "next.deb")
	command(t, "dpkg-deb", "--raw-extract", now, tree)
	control, err := os.ReadFile(tree + "/DEBIAN/control")
	must(t, err)
	control = regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAll(control, []byte("Version: "+nextVersion))
	must(t, os.WriteFile(tree+"/DEBIAN/control", control, 0o644))
	command(t, "go", "build", "-trimpath", "-buildvcs=false", "-o", tree+"/usr/sbin/fjmcp-broker",
		"-ldflags", "-s -w -X github.com/fjmcp/fjmcp-broker/internal/daemon/version.Version="+nextVersion, "./cmd/fjmcp-broker")
	command(t, "dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, next)
	must(t, s.C.CopyIn(next, "/root/fjmcp-broker.deb", 0o644))
	before := mainPID(t, s)
	must(t, s.InstallDeb(t.Context()))
	if pid := mainPID(t, s); pid == before || pid == "0" {
		t.Errorf("the broker's pid was %s and is %s", before, pid)
	}
	if out := run(t, s, "fjmcpctl", "status", "--json"); !strings.Contains(out, `"version":"`+nextVersion) {
		t.Errorf("after the upgrade runs %s", out)
	}
}

// command runs a command of the host in the repository.
func command(t *testing.T, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}

// kept wants three descriptors in the store for each of n units, and no unit beside.
func kept(t *testing.T, s *System, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%d units and three times as many descriptors", n), func() bool {
		stored, err := s.Property(t.Context(), brokerUnit, "NFileDescriptorStore")
		must(t, err)
		return stored == strconv.Itoa(3*n) && len(unitsOf(t, s)) == n
	})
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
find /run/systemd/dynamic-uid -name 'direct:fjs-*' | sed 's/^/user /'
sqlite3 -readonly /var/lib/fjmcp/fjmcp.db "SELECT 'row with unit ' || unit_id FROM sessions WHERE unit_id <> ''"
systemctl show --property=NFileDescriptorStore fjmcp-broker.service | grep -v '=0$' || true
`

// missing names the kinds of things that leftovers looks for and has not found.
func missing(out string) (kinds []string) {
	for _, kind := range []string{"process ", "unit ", "unit file ", "cgroup ", "mount ", "credential ", "user ", "row ", "NFileDescriptorStore="} {
		if !strings.HasPrefix(out, kind) && !strings.Contains(out, "\n"+kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

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
