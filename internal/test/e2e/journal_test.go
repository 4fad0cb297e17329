package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// The journal's daemons are stopped, with their sockets, and started again: no program of
// ours ends, calls go on, and what happened meanwhile is in the journal once, also what a
// broker did that was started without it.
func TestE2EJournalAway(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { journalAway(t, suite) })
	}
}

const journald = "systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket"

func journalAway(t *testing.T, suite string) {
	s := installIn(t, suite, standin(t))
	must(t, s.Configure(nil))
	must(t, s.Enable(t.Context()))
	alice := connect(t, s, "alice")
	useTools(t, alice, "alice")
	audited := calls(t, s)
	before := pids(t, s)

	shell(t, s, "systemctl stop "+journald+" systemd-journald@fjmcp.service")
	const more = 10
	for range more {
		call(t, alice, "get_my_user_info", nil)
	}
	call(t, alice, "flood", map[string]any{"what": "stderr", "lines": 1, "bytes": 40})
	second, err := alice.Again(t.Context()) // by launcher and egress
	must(t, err)
	call(t, second, "get_my_user_info", nil)
	must(t, second.Close())
	shell(t, s, "systemctl start "+journald)

	await(t, "the calls are in the journal", func() bool { return calls(t, s) == audited+more+2 })
	await(t, "the interruption is in the journal", func() bool {
		found := entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service", "FJMCP_EVENT=audit_interrupted", "FJMCP_OUTCOME=late")
		return len(found) == 1 && found[0]["MESSAGE_ID"] == "8da01e30efac4f05aa8396adf0e0c239"
	})
	if after := pids(t, s); after != before {
		t.Errorf("processes were %s, and are %s", before, after)
	}
	checkNumbers(t, s)
	await(t, "the session's line is in its journal", func() bool {
		return slices.ContainsFunc(entries(t, s, "--namespace=fjmcp"), func(e nspawn.Entry) bool {
			return strings.HasPrefix(e["MESSAGE"], "forgejo-mcp: flooded with")
		})
	})

	brokerStartsMute(t, s, alice)
	shell(t, s, "journalctl -x --no-pager -n 1 FJMCP_EVENT=tool_call | grep 'Subject: A tool was called'")
}

// brokerStartsMute starts a broker while the journal is away.
func brokerStartsMute(t *testing.T, s *System, alice *loginclient.Client) {
	audited, lines := calls(t, s), len(warnings(t, s))
	shell(t, s, "systemctl stop "+journald+" && systemctl restart fjmcp-broker.service")
	call(t, alice, "get_my_user_info", nil)
	shell(t, s, "systemctl start "+journald)
	await(t, "the new broker's call is in the journal", func() bool { return calls(t, s) == audited+1 })
	await(t, "the new broker's log is in the journal", func() bool {
		now := warnings(t, s)
		return len(now) == lines+1 && strings.Contains(now[lines], " time=20")
	})
	call(t, alice, "get_my_user_info", nil)
	await(t, "its next call is, too", func() bool { return calls(t, s) == audited+2 })
	checkNumbers(t, s)
}

// warnings is what each broker says at its start here.
func warnings(t *testing.T, s *System) (all []string) {
	for _, e := range entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service", "SYSLOG_IDENTIFIER=fjmcp-broker", "PRIORITY=4", "_TRANSPORT=stdout") {
		if strings.Contains(e["MESSAGE"], "any local user can listen on its port") {
			all = append(all, e["MESSAGE"])
		}
	}
	return all
}

func calls(t *testing.T, s *System) int {
	t.Helper()
	return len(entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service", "FJMCP_EVENT=tool_call"))
}

// checkNumbers finds each broker's events in order, none missing and none twice.
func checkNumbers(t *testing.T, s *System) {
	t.Helper()
	next := map[string]int{}
	for _, e := range entries(t, s, "_SYSTEMD_UNIT=fjmcp-broker.service") {
		if e["FJMCP_EVENT"] == "" {
			continue
		}
		run := e["_SYSTEMD_INVOCATION_ID"]
		if next[run]++; e["FJMCP_NUMBER"] != strconv.Itoa(next[run]) {
			t.Errorf("event %v is where number %d is due", e, next[run])
		}
	}
}

// pids tells each program of ours that serves.
func pids(t *testing.T, s *System) string {
	t.Helper()
	found := units(t, s)
	if len(found) != 1 {
		t.Fatalf("units %v, want one", found)
	}
	services := []string{"fjmcp-broker.service", "fjmcp-launcher.service", "fjmcp-egress.service", found[0].Name}
	return fmt.Sprint(run(t, s, append([]string{"systemctl", "show", "--property=Id,MainPID,ActiveState"}, services...)...))
}

func shell(t *testing.T, s *System, script string) {
	t.Helper()
	_, err := s.C.Shell(t.Context(), script)
	must(t, err)
}
