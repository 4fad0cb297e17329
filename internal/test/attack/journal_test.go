package attack

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// documented is a query of the journal, or of the audit, in the documentation.
var documented = regexp.MustCompile(`(?:journalctl [^` + "`" + `\n|]*FJMCP_|fjmcpctl audit )[^` + "`" + `\n|]*`)

const mark = "forged by a local user"

// forgeEntries writes entries to the journal, of all namespaces, that look like the audit's,
// and claims of each what journald alone may say.
func forgeEntries() error {
	sockets, err := filepath.Glob("/run/systemd/journal*/socket")
	for _, socket := range sockets {
		conn, err := net.Dial("unixgram", socket)
		if err != nil {
			return err
		}
		defer conn.Close()
		for number, event := range []string{"tool_call", "login", "session_started", "session_stopped", "token_reused", "rate_limited"} {
			_, err := fmt.Fprintf(conn, "MESSAGE=%s\nPRIORITY=4\nSYSLOG_IDENTIFIER=fjmcp-broker\nFJMCP_EVENT=%s\nFJMCP_USER=alice\nFJMCP_USER_ID=7\nFJMCP_SESSION=0123456789abcdef\nFJMCP_CLIENT=x\nFJMCP_CLIENT_ID=x\nFJMCP_REPO=alice/site\nFJMCP_OUTCOME=ok\nFJMCP_UNIT=fjmcp-session@x.service\n"+
				"FJMCP_NUMBER=%d\nFJMCP_DETAIL=%[1]s\nFJMCP_TOOL=%[1]s\n_SYSTEMD_UNIT=fjmcp-broker.service\n_UID=0\n_TRANSPORT=journal\nUNIT=fjmcp-broker.service\nOBJECT_SYSTEMD_UNIT=fjmcp-broker.service\nOBJECT_PID=1\nCOREDUMP_UNIT=fjmcp-broker.service\n", mark, event, number+1)
			if err != nil {
				return err
			}
		}
	}
	return err
}

// forgeAudit has entries forged in every way that a local user has, and by units with names
// and users like the broker's, which only root can start.
func (w *world) forgeAudit() {
	// A manager of the user's own, as a login with PAM brings it.
	w.must(w.s.C.WriteFile("/etc/systemd/system/user@.service.d/nopam.conf", []byte("[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n"), 0o644))
	w.run("systemctl daemon-reload; systemctl start user@$(id -u " + mallory + ").service")
	w.must(w.s.C.WriteFile("/tmp/entry", []byte("MESSAGE="+mark+"\nFJMCP_EVENT=tool_call\nFJMCP_USER=alice\nFJMCP_DETAIL="+mark+"\n_SYSTEMD_UNIT=fjmcp-broker.service\n"), 0o644))
	ways := []string{
		program + " forge",
		"logger --journald </tmp/entry",
		"logger --tag fjmcp-broker 'FJMCP_EVENT=tool_call FJMCP_USER=alice detail=\"" + mark + "\"'",
		"systemd-cat --identifier=fjmcp-broker cat /tmp/entry",
		"systemd-run --user --quiet --collect --property=Type=oneshot --unit=fjmcp-broker.service " + program + " forge",
		"systemd-run --user --quiet --collect --property=Type=oneshot --unit=fjmcp-broker.service cat /tmp/entry",
	}
	for i, way := range ways {
		ways[i] = "XDG_RUNTIME_DIR=/run/user/$(id -u " + mallory + ") runuser -u " + mallory + " -- " + way
	}
	for _, user := range []string{mallory, "fjmcp"} {
		for _, how := range []string{"--wait --unit=fjmcp-broker.service.service", "--wait --unit=fjmcp-broker@x.service", "--scope --unit=fjmcp-broker.service.scope"} {
			ways = append(ways, "systemd-run --quiet --uid="+user+" "+how+" "+program+" forge")
		}
	}
	for _, way := range ways {
		w.run(way)
	}
	w.run("journalctl --sync")
	if n := strings.Count(w.run("journalctl FJMCP_USER=alice -o cat"), mark); n < 8*6 {
		w.must(fmt.Errorf("the journal shows %d of the entries", n))
	}
}

// forgedEntries writes to the journal what looks like the broker's audit, and makes the
// queries that the documentation recommends.
func forgedEntries(w *world) result {
	w.forgeAudit()
	count := 0
	for _, page := range []string{"README.md", "docs/audit.md", "docs/incidents.md", "docs/operations.md", "docs/acceptance.md", "docs/deploy-podman.md", "packaging/fjmcp-broker.catalog",
		"packaging/man/fjmcp-broker.8", "packaging/man/fjmcp-session.8", "packaging/man/fjmcpctl.1"} {
		text, err := os.ReadFile("../../../" + page)
		w.must(err)
		for _, query := range documented.FindAllString(string(text), -1) {
			if strings.Contains(query, " -F ") || strings.Contains(query, "-f ") || strings.Contains(query, "--fo") || strings.Contains(query, "--file") {
				continue // lists values; does not end; reads no journal
			}
			count++
			query = strings.NewReplacer("<id>", "x", "<session>", "0123456789abcdef", "@FJMCP_SESSION@", "0123456789abcdef", "…", "").Replace(query)
			script := "id=0123456789abcdef; { " + strings.TrimRight(query, `\ `) + "; } 2>&1"
			if strings.HasPrefix(query, "journalctl") {
				script += " || true" // what is not there is its failure
			}
			if strings.Contains(w.run(script), mark) {
				return verdict(false, "%s shows it (%s)", query, page)
			}
		}
	}
	return verdict(count > 20, "none of %d shows them", count)
}

// forgedEvents has the operator's own command read what was forged, in all forms.
func forgedEvents(w *world) result {
	w.forgeAudit()
	shown := 0
	for _, options := range []string{"", "--json", "--reverse", "--lines 1000", "--user alice", "--user alice --json", "--user id:7 --json", "--session 0123456789abcdef", "--client x", "--repo alice/site",
		"--event tool_call --event token_reused", "--outcome ok", "--since -1h --until +1h", "--directory /var/log/journal/$(cat /etc/machine-id)", "--follow --lines 1000"} {
		out := w.run("timeout --preserve-status --signal=INT 5 fjmcpctl audit " + options + " 2>&1")
		if strings.Contains(out, mark) {
			return verdict(false, "fjmcpctl audit %s shows it", options)
		}
		if strings.Contains(out, "token_issued") {
			shown++
		}
	}
	return verdict(shown >= 5, "the broker's are shown in %d forms, and nothing else", shown)
}
