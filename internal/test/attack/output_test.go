package attack

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/fjmcp/fjmcp-broker/internal/test/e2e"
	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// hostileNames are what clients and users call themselves, and where it is shown.
func hostileNames() []attack {
	const name = "<script>alert(1)</script>\"'&\x1b[2J\u009b31m\u202egnp\u2066\u200b\nFAKE row\ttab{{.}}%n%s"
	page := func(what string, find func(w *world) string) attack {
		return attack{who: "N", name: "have a hostile name shown " + what, right: "as harmless text", out: func(w *world) result {
			text := find(w)
			if !strings.Contains(text, "alert(1)") {
				return verdict(false, "cannot try: the name is not in %s", text)
			}
			for i, r := range text {
				if strange(r) && r != '\t' || r == '\n' && strings.HasPrefix(text[i+1:], "FAKE") {
					return verdict(false, "U+%04X in %q", r, text[max(0, i-20):min(len(text), i+20)])
				}
			}
			return verdict(true, "clean")
		}}
	}
	markup := func(text string) string {
		if strings.Contains(text, "<script>") || strings.Contains(text, "<img") {
			return "alert(1) \x1b as markup"
		}
		return text
	}
	connected := func(w *world) *loginclient.Client {
		c, err := loginclient.Connect(w.t.Context(), loginclient.Config{MCPURL: e2e.PublicURL + "/mcp", Name: name, Transport: w.s.Transport(), Browser: w.s.Browser("bob", nil)})
		w.must(err)
		return c
	}
	shown := func(command string) func(w *world) string {
		return func(w *world) string {
			c := connected(w)
			defer c.Close()
			return w.run("fjmcpctl " + command)
		}
	}
	return []attack{
		page("on the page of consent", func(w *world) string {
			return markup(w.http("GET", authorization(w.client(name, honestURI)), "").body)
		}),
		page("in the list of sessions", shown("sessions list")), page("in the list of sessions as JSON", shown("sessions list --json")),
		page("in the list of clients", shown("clients list")), page("in the list of clients as JSON", shown("clients list --json")),
		page("of one session", shown("sessions show $(fjmcpctl sessions list --json | jq -r '.[] | select(.client | contains(\"alert\")) | .id' | head -1)")),
		page("in the audit", func(w *world) string {
			connected(w).Close()
			return w.run("journalctl -q -o json --all _SYSTEMD_UNIT=fjmcp-broker.service FJMCP_EVENT=login | jq -r 'select(.FJMCP_CLIENT|tostring|contains(\"alert\")) | .FJMCP_CLIENT' | tail -1")
		}),
		page("in the broker's own lines", func(w *world) string {
			return w.run("journalctl -q -o cat --all _SYSTEMD_UNIT=fjmcp-broker.service | grep -a 'alert(1)' | tail -5")
		}),
		{who: "C", name: "call with a hostile tool's name", right: "clean in the audit", out: func(w *world) result {
			_ = w.try(w.bob, "tool\x1b[2J\u202e\nFJMCP_USER=root", nil)
			for _, e := range w.journal("_SYSTEMD_UNIT=fjmcp-broker.service", "FJMCP_EVENT=tool_call", "-n", "5") {
				if strings.ContainsFunc(e["FJMCP_TOOL"], strange) || strings.Contains(e["FJMCP_TOOL"], "\n") || e["FJMCP_USER"] == "root" {
					return verdict(false, "%q", e["FJMCP_TOOL"])
				}
			}
			return result{true, "clean"}
		}},
	}
}

func (w *world) journal(args ...string) []nspawn.Entry {
	w.run("journalctl --sync")
	found, err := w.s.C.Journal(w.t.Context(), args...)
	w.must(err)
	return found
}

// said has alice's child write a line to its error output and returns the entries that
// hold the mark, from all namespaces.
func (w *world) said(mark, line string) (found []nspawn.Entry) {
	unit := w.mine()
	w.call(w.alice, "say", utter("stderr", strings.TrimSuffix(line, "\n"), 1))
	eventually(func() bool {
		found = slices.DeleteFunc(w.journal("--namespace=*", "--since=-10min", "_SYSTEMD_UNIT="+unit), func(e nspawn.Entry) bool { return !strings.Contains(e["MESSAGE"], mark) })
		return len(found) > 0
	})
	return found
}

// errorLine says a line, and wants every entry of it to be fit.
func errorLine(name, line string, fit func(nspawn.Entry) bool) attack {
	return attack{who: "C", name: "write to its error output " + name, right: "a line that is known as the child's, of no rank, clean", out: func(w *world) result {
		mark := "mark-" + strconv.Itoa(w.forge.mark()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
		found := w.said(mark, strings.ReplaceAll(line, "MARK", mark)+"\n")
		for _, e := range found {
			if !fit(e) {
				return verdict(false, "priority %s: %q", e["PRIORITY"], e["MESSAGE"])
			}
		}
		return verdict(len(found) > 0, "%d entries", len(found))
	}}
}

func childOutput() []attack {
	low := func(e nspawn.Entry) bool { return e["PRIORITY"] >= "4" }
	clean := func(e nspawn.Entry) bool { return !strings.ContainsFunc(e["MESSAGE"], strange) }
	foreign := func(e nspawn.Entry) bool {
		return !strings.HasPrefix(e["MESSAGE"], "level=") && !strings.HasPrefix(e["MESSAGE"], "msg=") && !strings.HasPrefix(e["MESSAGE"], "time=") && !strings.HasPrefix(e["MESSAGE"], "{")
	}
	return []attack{
		errorLine("an emergency", "<0>MARK emergency", low), errorLine("an alert in pieces", "\x00<1>MARK alert", low), errorLine("a critical line behind an escape", "\x1b[0m<2>MARK critical", low), errorLine("a rank behind a space", "<3> MARK", low),
		errorLine("what fjmcp-session might say", `level=ERROR msg="session failed" detail=MARK`, foreign), errorLine("what fjmcp-session says without a level", `msg="session failed" detail=MARK`, foreign), errorLine("what fjmcp-session says with a rank", `<3>msg="session failed" detail=MARK`, foreign), errorLine("an object", `{"MESSAGE":"MARK"}`, foreign),
		errorLine("escapes", "\x1b[2J\x1b]0;x\x07MARK\x1bc", clean), errorLine("C1 controls", "\u009b2J MARK \u0085 \u0090x\u009c", clean), errorLine("turned text", "MARK \u202egnp.exe\u2066 \u200f", clean), errorLine("unseen characters", "MARK a\u200bb\u2060c\ufeff", clean),
		errorLine("broken UTF-8", "MARK \x9b31m \xc3\x28 \xff", func(e nspawn.Entry) bool { return utf8.ValidString(e["MESSAGE"]) && clean(e) }), errorLine("carriage returns", "hidden\rMARK", clean), errorLine("line separators", "MARK\u2028level=ERROR\u2029x", clean),
		{who: "C", name: "write to its error output without end", right: "a bounded part is kept, and it is said how much is not", out: func(w *world) result {
			unit := w.mine()
			before := w.kept(unit)
			// The journal counts lines, so they are long.
			w.call(w.alice, "say", utter("stderr", strings.Repeat(strings.Repeat("f", 8<<10-1)+"\n", 10), 300))
			grown := w.kept(unit) - before
			return verdict(grown < 6<<20, "%d KB of 24000 KB kept", grown>>10)
		}},
		{who: "C", name: "push the audit out of the journal", right: "its sessions write elsewhere", out: func(w *world) result {
			namespace, err := w.s.Property(w.t.Context(), w.mine(), "LogNamespace")
			w.must(err)
			logins := w.journal("_SYSTEMD_UNIT=fjmcp-broker.service", "FJMCP_EVENT=login")
			return verdict(namespace == "fjmcp" && len(logins) > 2, "namespace %q, %d logins", namespace, len(logins))
		}},
		bomb("a line without end", "x", 1<<16, 4096), bomb("arrays in arrays", "[", 1<<16, 512), bomb("objects in objects", `{"a":`, 1<<14, 1024), bomb("a number without end", "9", 1<<16, 512),
		bomb("a name over and over", `{"jsonrpc":"2.0","id":1,`+strings.Repeat(`"id":1,`, 2000)+"\"result\":{}}\n", 1, 300), bomb("answers that nobody waits for", strings.Repeat("{\"jsonrpc\":\"2.0\",\"id\":999999,\"result\":{}}\n", 500), 1, 100),
		bomb("requests of its own", strings.Repeat("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"sampling/createMessage\",\"params\":{}}\n", 500), 1, 20), bomb("notices without end", strings.Repeat("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n", 500), 1, 100),
		bomb("nulls and broken text", "\x00\xff\xfe\n", 1<<12, 64), bomb("escapes without end", `"\ud800\u0000`, 1<<14, 128),
		{who: "C", name: "send descriptors over the MCP socket", right: "the broker keeps none", out: func(w *world) result {
			count := func() string {
				return w.run("ls /proc/$(systemctl show --value -p MainPID fjmcp-broker.service)/fd | wc -l")
			}
			before, _ := strconv.Atoi(strings.TrimSpace(count()))
			sent := w.call(w.bob, "pass", nil)
			err := w.works()
			after, _ := strconv.Atoi(strings.TrimSpace(count()))
			return verdict(err == nil && after < before+100, "%s; %d, then %d; %v", sent, before, after, err)
		}},
		{who: "C", name: "bring its parent's stacks to the journal", right: "no token in them", out: func(w *world) result {
			c := w.connect("alice", "")
			_ = w.try(c, "signal", map[string]int{"Signal": int(syscall.SIGQUIT)})
			w.run("journalctl --sync")
			return w.clean("journalctl --all --no-pager -o export; journalctl --namespace='*' --all --no-pager -o export; find / -xdev -name 'core*' -size +0 -path '*coredump*'", "FJMCP_EVENT=", w.everySecret())
		}},
		{who: "C", name: "stop its parent", right: "others are served, and it can be ended", out: func(w *world) result {
			c := w.connect("alice", "")
			_ = w.try(c, "signal", map[string]int{"Signal": int(syscall.SIGSTOP)})
			err := w.works()
			c.Close()
			return verdict(err == nil, "%v", err)
		}},
		{who: "C", name: "leave a process behind that ignores all", right: "it ends with the session", out: func(w *world) result {
			c := w.connect("alice", "")
			var pid int
			w.must(json.Unmarshal([]byte(w.call(c, "linger", nil)), &pid))
			if !strings.Contains(w.run(fmt.Sprintf("cat /proc/%d/cmdline | tr '\\0' ' ' || true", pid)), "linger") {
				return result{false, "cannot try: it does not run"}
			}
			c.Close()
			gone := eventually(func() bool {
				return !strings.Contains(w.run(fmt.Sprintf("cat /proc/%d/cmdline 2>/dev/null | tr '\\0' ' ' || true", pid)), "linger")
			})
			return verdict(gone, "gone: %v", gone)
		}},
	}
}

func utter(to, text string, times int) speech {
	return speech{To: to, Text: base64.StdEncoding.EncodeToString([]byte(text)), Times: times}
}

// bomb has a child write to the broker what it takes for MCP: a part as often as said in
// one write, and that some times.
func bomb(name, part string, repeat, times int) attack {
	return attack{who: "C", name: "answer with " + name, right: "the broker stays small and serves others", out: func(w *world) result {
		c := w.connect("alice", "")
		defer c.Close()
		main, before := w.pid("fjmcp-broker.service"), w.memory()
		err := w.try(c, "say", utter("stdout", strings.Repeat(part, repeat), times))
		grown := w.memory() - before
		served := w.works()
		if err != nil && strings.Contains(err.Error(), "validating") {
			return verdict(false, "cannot try: %v", err)
		}
		return verdict(served == nil && grown < 256<<20 && w.pid("fjmcp-broker.service") == main, "%d MB more, %v; the child's call: %v", grown>>20, served, err)
	}}
}

// kept is how much of a unit's lines is in the journals, in bytes.
func (w *world) kept(unit string) int64 {
	out := w.run("journalctl --sync; journalctl --namespace='*' -q -o cat --all _SYSTEMD_UNIT=" + unit + " | wc -c")
	n, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	w.must(err)
	return n
}

// childLimits are what a child can do by much.
func childLimits() []attack {
	return []attack{
		{who: "C", name: "have the token renewed over and over by a path that answers 401", right: "at most 6 renewals a minute", out: func(w *world) result {
			before := w.s.Forge.Stats().Refreshes
			for range 60 {
				w.send(w.alice, request("GET", repository+"unauthorized", ""))
			}
			n := w.s.Forge.Stats().Refreshes - before
			return verdict(n <= 6, "%d renewals by 60 requests", n)
		}},
		{who: "C", name: "hold hundreds of requests to the forge open", right: "at most 64 of a session, another user is served", out: func(w *world) result {
			opened := w.call(w.alice, "hoard", map[string]any{"Times": 450, "Path": repository + "slow"})
			defer w.forge.release()
			most := 0
			for range 20 {
				most = max(most, w.forge.waiting())
				time.Sleep(50 * time.Millisecond)
			}
			err := w.works()
			return verdict(err == nil && most <= 64, "%s opened, %d at the forge, %v", opened, most, err)
		}},
		{who: "C", name: "leave requests that the forge does not answer in sessions that end", right: "their connections end with them", out: func(w *world) result {
			defer w.forge.release()
			pid := w.pid("fjmcp-egress.service")
			descriptors := func() int {
				n, err := strconv.Atoi(strings.TrimSpace(w.run(fmt.Sprintf("ls /proc/%d/fd | wc -l", pid))))
				w.must(err)
				return n
			}
			const sessions, each, connection = 4, 8, 6 // descriptors
			before, waiting := descriptors(), w.forge.waiting()
			for i := range sessions {
				c := w.connect("alice", "")
				w.call(c, "hoard", map[string]any{"Times": each, "Path": repository + "stuck"})
				if !eventually(func() bool { return w.forge.waiting() == waiting+(i+1)*each }) {
					return verdict(false, "cannot try: %d requests wait", w.forge.waiting())
				}
				w.must(c.Close())
			}
			ended := eventually(func() bool { return descriptors() < before+each*connection })
			return verdict(ended, "%d descriptors more by %d sessions that ended", descriptors()-before, sessions)
		}},
	}
}
