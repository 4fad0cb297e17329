package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	auditlog "github.com/fjmcp/fjmcp-broker/internal/operator/journal"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// fjmcpctl audit reads what the installed broker wrote to the real journal: all of it, also
// what was late, when the broker does not run, by whom the journal may be read; and goes on
// across a rotation.
func TestE2EAudit(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { readAudit(t, suite) })
	}
}

func readAudit(t *testing.T, suite string) {
	s := installIn(t, suite, standin(t))
	must(t, s.Configure(nil))
	must(t, s.Enable(t.Context()))
	shell(t, s, "systemd-run --quiet --unit=follow --property=RemainAfterExit=yes --property=StandardOutput=file:/tmp/followed fjmcpctl audit --follow --json")
	alice := connect(t, s, "alice")
	useTools(t, alice, "alice")

	// What waits for the journal comes in its place.
	shell(t, s, "systemctl stop "+journald)
	call(t, alice, "get_my_user_info", nil)
	shell(t, s, "systemctl start "+journald)
	await(t, "the interruption is in the journal", func() bool {
		return len(entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service", "FJMCP_EVENT=audit_interrupted")) == 1
	})
	call(t, alice, "get_my_user_info", nil)
	shell(t, s, "journalctl --rotate")
	call(t, alice, "get_my_user_info", nil)
	all := entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service", "FJMCP_NUMBER=1")
	if len(all) != 1 {
		t.Fatalf("%d runs of the broker, want one", len(all))
	}

	last := 0
	await(t, "what is followed is all there is", func() bool {
		last = len(audited(t, run(t, s, "fjmcpctl", "audit", "--json")))
		return last == len(audited(t, run(t, s, "cat", "/tmp/followed"))) && last == newest(t, s)
	})
	for i, e := range audited(t, run(t, s, "fjmcpctl", "audit", "--json")) {
		if e.Number != int64(i+1) || e.Run != all[0]["_SYSTEMD_INVOCATION_ID"] {
			t.Errorf("event %d is %+v", i+1, e)
		}
	}
	shell(t, s, `systemctl kill --signal=INT --kill-who=main follow.service
		until [ "$(systemctl show --property=SubState --value follow.service)" = exited ]; do sleep 0.1; done
		[ "$(systemctl show --property=ExecMainStatus --value follow.service)" = 0 ]
		[ -z "$(cat /sys/fs/cgroup/system.slice/follow.service/cgroup.procs 2>/dev/null)" ]`)
	shell(t, s, "fjmcpctl audit --follow --json | head -n 1 | grep -q '^{'") // and ends

	// Without the broker, and without rights.
	shell(t, s, "systemctl stop fjmcp-broker.socket fjmcp-broker.service; useradd reader; useradd --groups systemd-journal known")
	if n := len(audited(t, run(t, s, "fjmcpctl", "audit", "--json", "--user", "alice"))); n < 5 {
		t.Errorf("%d events of alice without the broker", n)
	}
	for user, told := range map[string]string{"known": "tool_call", "reader": "hint: be root, or a member of the group systemd-journal\n"} {
		r, err := s.C.Exec(t.Context(), nspawn.Cmd{Argv: []string{"fjmcpctl", "audit"}, User: user})
		must(t, err)
		if r.Code != map[string]int{"known": 0, "reader": 1}[user] || !strings.Contains(r.Stdout+r.Stderr, told) {
			t.Errorf("%s: %+v", user, r)
		}
	}

	// What is gone is said to be.
	shell(t, s, "journalctl --rotate; journalctl --vacuum-files=1; systemctl start fjmcp-broker.socket; curl -sS --fail http://127.0.0.1:8080/livez")
	if out := run(t, s, "fjmcpctl", "audit", "--since", "-1d"); !strings.HasPrefix(out, "-- the journal goes back to ") {
		t.Error(out)
	}
}

// audited are events in JSON, a line each.
func audited(t *testing.T, text string) (all []auditlog.Event) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var e auditlog.Event
		must(t, d.Decode(&e))
		all = append(all, e)
	}
	return all
}

// newest is the number of the newest event.
func newest(t *testing.T, s *System) (n int) {
	t.Helper()
	for _, e := range entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service") {
		if e["FJMCP_NUMBER"] != "" {
			_, err := fmt.Sscan(e["FJMCP_NUMBER"], &n)
			must(t, err)
		}
	}
	return n
}
