package e2e

import "testing"

// backendIs has a script stand in forgejo-mcp's place.
func backendIs(script string) step {
	return func(t *testing.T, b *bench) {
		t.Helper()
		must(t, b.C.WriteFile(backend, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
}

func backendBack(t *testing.T, b *bench) {
	t.Helper()
	must(t, b.InstallBackend(b.backend))
}

const dropIn = "/etc/systemd/system/fjmcp-session@.service.d/50-local.conf"

// override writes a drop-in of one line.
func override(line string) step {
	return sh("mkdir -p $(dirname " + dropIn + "); printf '[Service]\\n" + line + "\\n' >" + dropIn + "; systemctl daemon-reload")
}

const (
	launcherFailing = `"launcher":"failing"`
	backendFailing  = `"forgejo-mcp":"failing"`
	notNow          = "the server cannot carry this out right now"
	crashed         = "the forgejo-mcp program ended unexpectedly"
	isCurrent       = `[ "$1" = --version ] && echo forgejo-mcp 2.34.1 && exit 0` + "\n"
)

// sessionBreaks are of what sessions are made of.
var sessionBreaks = []broken{{
	what:  "forgejo-mcp is missing",
	begin: sh("rm " + backend),
	mend:  backendBack,
	cure:  "the program",
	login: "the forgejo-mcp program is missing",
	exit:  1, status: "neither /usr/bin/forgejo-mcp nor /usr/local/bin/forgejo-mcp exists … to do: install",
	ready:   launcherFailing,
	journal: "health check fails … neither /usr/bin/forgejo-mcp nor /usr/local/bin/forgejo-mcp exists",
}, {
	what:  "forgejo-mcp may not be executed",
	begin: sh("chmod 0644 " + backend),
	cure:  "`chmod 0755 /usr/bin/forgejo-mcp`",
	login: "the forgejo-mcp program is missing or cannot be run",
	exit:  1, status: "/usr/bin/forgejo-mcp cannot be executed: want a program file with mode 0755 … to do: chmod 0755",
	ready:   backendFailing,
	journal: "health check fails … cannot be executed: want a program file with mode 0755",
}, {
	what:  "forgejo-mcp is too old",
	begin: backendIs(`[ "$1" = --version ] && echo forgejo-mcp 2.10.0 && exit 0` + "\necho unknown flag >&2\nexit 2"),
	mend:  backendBack,
	cure:  "a newer one",
	login: "forgejo-mcp",
	exit:  1, status: "/usr/bin/forgejo-mcp is version 2.10.0 … to do: install forgejo-mcp 2.18.0 or later",
	ready:   backendFailing,
	journal: "health check fails … is version 2.10.0: install 2.18.0 or later",
}, {
	what:  "forgejo-mcp crashes at its start",
	begin: backendIs(isCurrent + "echo famous last words >&2\nexit 3"),
	mend:  backendBack,
	cure:  "one that works",
	login: crashed,
	exit:  1, status: "ended by itself: exit status 3; it said: famous last words … to do: journalctl",
	ready:   backendFailing,
	journal: "health check fails … famous last words",
}, {
	what:  "forgejo-mcp hangs at its start",
	begin: backendIs(isCurrent + "exec sleep infinity"),
	mend:  backendBack,
	cure:  "one that works",
	login: "the forgejo-mcp program did not answer in time",
	exit:  1, status: "to do: is the machine overloaded (uptime)?",
	ready:   backendFailing,
	journal: "health check fails … is the machine overloaded (uptime)?",
}, {
	what:   "a drop-in leaves sessions too little memory",
	begin:  override("LimitDATA=4M"),
	cure:   "`systemctl revert 'fjmcp-session@.service'`",
	login:  "the server",
	doctor: "their sandbox is changed by /etc/systemd/system/fjmcp-session@.service.d/50-local.conf … to do: systemctl revert 'fjmcp-session@.service'",
	exit:   1, status: "to do: journalctl",
	ready:   backendFailing,
	journal: "health check fails",
}, {
	what:   "a drop-in gives sessions a root that is not there",
	begin:  override("RootDirectory=/nonexistent"),
	cure:   "`systemctl revert 'fjmcp-session@.service'`",
	login:  notNow,
	doctor: "their sandbox is changed by /etc/systemd/system/fjmcp-session@.service.d/50-local.conf … to do: systemctl revert 'fjmcp-session@.service'",
	exit:   1, status: `start job ended as "failed" … to do: journalctl -u fjmcp-launcher.service`,
	ready:   backendFailing,
	journal: "start job ended as",
}, {
	what:   "`systemctl edit --full` made a file of the sessions' unit",
	begin:  sh("printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/fjmcp-session@.service; systemctl daemon-reload"),
	cure:   "`rm /etc/systemd/system/fjmcp-session@.service`, `systemctl daemon-reload`",
	login:  notNow,
	doctor: "with a file of that name systemd refuses every session … to do: rm /etc/systemd/system/fjmcp-session@.service",
	exit:   1, status: "has a fragment file … to do: journalctl -u fjmcp-launcher.service",
	ready:   backendFailing,
	journal: "has a fragment file",
}, {
	what:   "the launcher is masked",
	begin:  sh("systemctl mask --now fjmcp-launcher.socket fjmcp-launcher.service"),
	cure:   "`systemctl unmask fjmcp-launcher.socket fjmcp-launcher.service`, " + restartBroker,
	login:  notNow,
	doctor: "fjmcp-launcher.socket is masked … to do: systemctl unmask fjmcp-launcher.socket",
	exit:   1, status: "cannot ask the launcher … to do: journalctl -u fjmcp-launcher.service",
	ready:   launcherFailing,
	journal: "health check fails … cannot ask the launcher",
}, {
	what:  "the sessions' way to the forge is masked",
	begin: sh("systemctl mask --now fjmcp-egress.socket fjmcp-egress.service"),
	cure:  "`systemctl unmask fjmcp-egress.socket fjmcp-egress.service`, " + restartBroker,
	login: "Forgejo cannot be reached", call: "cannot reach the forge",
	doctor: "fjmcp-egress.socket is masked … to do: systemctl unmask fjmcp-egress.socket",
	exit:   1, status: "fjmcp-egress.socket, the sessions' way to the forge, is masked: systemctl unmask",
	ready:   launcherFailing,
	journal: "health check fails … fjmcp-egress.socket, the sessions' way to the forge, is masked",
}}
