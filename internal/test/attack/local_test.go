package attack

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// commands wants every one of the commands of a local user to fail.
func commands(name string, argvs ...string) attack {
	return attack{who: "L", name: name, right: "refused", out: func(w *world) result {
		last := result{false, "no command"}
		for _, text := range argvs {
			argv := strings.Fields(strings.NewReplacer("<mine>", w.facts.Mine, "<other>", w.facts.Other).Replace(text))
			r := w.as(mallory, argv...)
			if last = verdict(r.Code != 0, "%s: %s", text, r.Stdout+r.Stderr); !last.OK {
				return last
			}
		}
		return last
	}}
}

// tell runs a script as the local user, and wants what it prints to hold something that
// is known to be there, but no secret and none of the words.
func tell(name, script, known string, words ...string) attack {
	return attack{who: "L", name: name, right: "no secret, no user's name", out: func(w *world) result {
		out := w.as(mallory, "/bin/sh", "-c", script).Stdout
		if !strings.Contains(out, known) {
			return verdict(false, "cannot try: %q is not in %d bytes", known, len(out))
		}
		for _, s := range w.everySecret() {
			if strings.Contains(out, s) {
				return result{false, "a secret"}
			}
		}
		for _, word := range words {
			if at := strings.Index(out, word); at >= 0 {
				return verdict(false, "%q", out[max(0, at-30):min(len(out), at+30)])
			}
		}
		return verdict(true, "nothing in %d bytes", len(out))
	}}
}

func localBus() []attack {
	const manager = "busctl --no-pager call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
	return []attack{
		tell("read the properties of all units", "systemctl show '*'", "fjmcp-session@", "alice", "FJMCP_USER="),
		tell("read the status of all units", "systemctl status --no-pager --full '*' 2>&1", "fjmcp-session@", "alice"),
		tell("list the units", "systemctl list-units --no-pager --all --full", "fjmcp-session@", "alice"),
		tell("read the transient units' files", "cat /run/systemd/transient/fjmcp-* /run/systemd/transient/fjmcp-*/* 2>&1", "fjmcp", "alice"),
		tell("read a session's properties on the bus", "busctl --no-pager introspect --full org.freedesktop.systemd1 $(busctl --no-pager call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager GetUnit s $(systemctl list-units --plain --no-legend 'fjmcp-session@*.service' | head -1 | cut -d' ' -f1) | cut -d'\"' -f2)", "LoadCredential", "alice"),
		tell("read command lines and environments", "ps auxeww; cat /proc/[0-9]*/cmdline", "fjmcp", "alice"),
		tell("list the processes by control group", "systemd-cgls --no-pager --full", "fjmcp-session@", "alice"),
		tell("list open sockets", "ss -anpx; ss -anpt; cat /proc/net/unix", "fjmcp", "alice"),
		tell("read the journal", "journalctl --all --no-pager -o export 2>&1; journalctl --namespace='*' --all --no-pager -o export 2>&1; echo end", "end", "alice", "FJMCP_EVENT=", "fjmcp-broker"),
		tell("read what core dumps and crashes have left", "ls -lR /var/lib/systemd/coredump /var/crash /var/log/journal /var/tmp /tmp /run/log 2>&1; cat /var/log/* 2>/dev/null; echo end", "end", "alice"),
		tell("read the broker's health", "curl -sS http://127.0.0.1:8080/healthz", "status", "alice", "/", "error"),
		commands("stop and start units", "systemctl stop fjmcp-broker.service", "systemctl restart fjmcp-broker.service", "systemctl stop <mine>", "systemctl kill <other>", "systemctl start fjmcp-unmount.service", "systemctl start fjmcp-apply.service", "systemctl freeze <mine>"),
		commands("change units' properties", "systemctl set-property --runtime fjmcp-broker.service TasksMax=1", "systemctl edit fjmcp-broker.service", "systemctl mask --runtime fjmcp-broker.service", "systemctl daemon-reload", "systemctl set-environment LD_PRELOAD=/tmp/x"),
		commands("start a unit that reads the token", "systemd-run --pipe --wait true", "systemd-run --unit=fjmcp-session@attack0.service -p LoadCredential=forgejo-token:/run/fjmcp-private/credentials.sock true"),
		commands("begin a reaping", "systemctl start fjmcp-reap@x.service", manager+"StartUnit ss fjmcp-reap@x.service replace", manager+"KillUnit ssi <mine> all 9", manager+"ResetFailed"),
		commands("reach the closed sockets", "curl -sS --fail --unix-socket /run/fjmcp/admin.sock http://x/status", "curl -sS --unix-socket /run/fjmcp-private/credentials.sock http://x/", "curl -sS --unix-socket /run/fjmcp-private/launcher.sock http://x/", "curl -sS --unix-socket /run/fjmcp-private/egress/egress.sock http://x/api/v1/user", "curl -sS --unix-socket /run/systemd/private http://x/"),
		{who: "L", name: "connect to every socket that the package has", right: "to the one for HTTP alone", in: func(*self) result { return none(openSockets()) }},
		{who: "L", name: "connect to abstract sockets of the package", right: "none", in: func(*self) result {
			b, err := os.ReadFile("/proc/net/unix")
			if err != nil {
				return result{false, err.Error()}
			}
			var found []string
			for _, name := range regexp.MustCompile(`@\S*(?:fjmcp|fjs-)\S*`).FindAllString(string(b), -1) {
				if conn, err := net.DialTimeout("unix", name, time.Second); err == nil {
					conn.Close()
					found = append(found, name)
				}
			}
			return none(found)
		}},
		{who: "L", name: "take the broker's port", right: "refused", in: func(*self) result {
			return each([]string{"127.0.0.1:8080", "0.0.0.0:8080"}, func(address string) error {
				l, err := net.Listen("tcp", address)
				if err == nil {
					l.Close()
				}
				return err
			}, unix.EADDRINUSE)
		}},
		{who: "L", name: "put processes into a session's group", right: "refused", in: func(s *self) result {
			return each([]string{s.Mine, s.Other}, func(unit string) error {
				return os.WriteFile("/sys/fs/cgroup/fjmcp.slice/fjmcp-sessions.slice/"+unit+"/cgroup.procs", fmt.Append(nil, os.Getpid()), 0)
			}, fs.ErrNotExist)
		}},
		{who: "L", name: "forge entries of the audit", right: "no query of the documentation shows them", out: forgedEntries},
		{who: "L", name: "forge what fjmcpctl audit shows", right: "it shows the broker's events alone", out: forgedEvents},
		{who: "L", name: "read tokens on the disk of a stolen machine without its memory", right: "none but in sealed form", out: theDisk},
		{who: "L", name: "find tokens in what processes were started with", right: "none", out: func(w *world) result {
			return w.clean("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; true", "FJMCP_SESSION_FORGEJO_URL=", w.everySecret())
		}},
		{who: "L", name: "find tokens in the journals of all namespaces", right: "none", out: func(w *world) result {
			return w.clean("journalctl --all --no-pager -o export; journalctl --namespace='*' --all --no-pager -o export", "FJMCP_EVENT=", w.everySecret())
		}},
		{who: "L", name: "crash what is on the bus by a message", right: "the package is not on the bus", out: func(w *world) result {
			out := w.run("busctl --no-pager --no-legend list; ss -xp")
			for line := range strings.Lines(out) {
				if strings.Contains(line, "dbus") && strings.Contains(line, "fjmcp") {
					return verdict(false, "%s", line)
				}
			}
			return verdict(strings.Contains(out, "fjmcp"), "no such connection")
		}},
	}
}

// openSockets connects to all sockets below /run that can be seen.
func openSockets() (found []string) {
	var all []string
	walk("/run", func(path string, d fs.DirEntry) {
		if d.Type()&fs.ModeSocket != 0 && strings.Contains(path, "fjmcp") {
			all = append(all, path)
		}
	})
	all = append(all, "/run/fjmcp-private/launcher.sock", "/run/fjmcp-private/credentials.sock", "/run/fjmcp-private/egress/egress.sock")
	for _, path := range all {
		for _, network := range []string{"unix", "unixpacket", "unixgram"} {
			if conn, err := net.DialTimeout(network, path, time.Second); err == nil {
				conn.Close()
				found = append(found, path)
			}
		}
	}
	// The last are the journal's, which takes lines from everybody.
	return without(found, "/run/fjmcp/http.sock", "/run/systemd/journal.fjmcp")
}

// clean wants none of the secrets in what a script prints that root runs.
func (w *world) clean(script, known string, secrets []string) result {
	out := w.run(script)
	if !strings.Contains(out, known) {
		return verdict(false, "cannot try: %q is not in %d bytes", known, len(out))
	}
	for i, s := range secrets {
		if strings.Contains(out, s) {
			return verdict(false, "secret %d", i)
		}
	}
	return verdict(true, "none in %d KB", len(out)>>10)
}

// theDisk searches every file that outlives a boot, and what else stands in files.
func theDisk(w *world) result {
	var patterns []string
	for _, s := range w.everySecret() {
		// The store's key is of any bytes.
		if !strings.ContainsAny(s, "\x00\n") && len(s) > 10 {
			patterns = append(patterns, s)
		}
	}
	// What stands in a command line is in the journal.
	r, err := w.s.C.Exec(w.t.Context(), nspawn.Cmd{
		Argv:  []string{"/bin/sh", "-c", "grep -rlaF --exclude-dir=credentials -f - /etc /var /root /home /srv /opt /tmp /run /dev/shm 2>/dev/null"},
		Stdin: strings.NewReader(strings.Join(patterns, "\n")),
	})
	w.must(err)
	if r.Stdout != "" || len(patterns) < 6 {
		return verdict(false, "%d secrets are in %s", len(patterns), r.Stdout)
	}
	found := w.run("grep -rlaF -- 'attack as alice' /var/lib/fjmcp")
	return verdict(found != "", "none, and the client's name in %s", found)
}

// localForge are attempts to take the forge's place when it is down.
func localForge() []attack {
	return []attack{
		{who: "L", name: "take the forge's port while it is down", right: "the broker has warned of it at its start", out: func(w *world) result {
			tokens := w.impostor()
			warned := w.run("journalctl -q --no-pager -o cat _SYSTEMD_UNIT=fjmcp-broker.service -p warning | grep 'any local user can listen' || true")
			return verdict(warned != "", "%d tokens; warned: %s", tokens, warned)
		}},
		{who: "L", name: "take the forge's port while it is down, where the operator names the forge's user", right: "no token", out: func(w *world) result {
			defer w.configure(nil)
			w.configure(map[string]string{"FJMCP_BROKER_FORGEJO_USER": "root"})
			before := w.works()
			tokens := w.impostor()
			after := w.works()
			return verdict(tokens == 0 && before == nil && after == nil, "%d; served before: %v, after: %v", tokens, before, after)
		}},
	}
}

// impostor stops the forge, has the local user listen in its place, makes a call, and
// returns how many tokens the local user got.
func (w *world) impostor() (tokens int) {
	w.s.Forge.Stop()
	defer func() { w.must(w.s.Forge.Resume()) }()
	const caught = "/home/" + mallory + "/caught"
	w.run("systemd-run --quiet --uid=" + mallory + " --unit=listener " + program + " listen " + caught)
	defer w.run("systemctl stop listener.service; rm -f " + caught)
	if !eventually(func() bool { return strings.Contains(w.run("ss -lnt"), ":3000") }) {
		w.must(errors.New("the port is not taken"))
	}
	_ = w.try(w.alice, toolWhoami, nil)
	out := w.run("cat " + caught + " 2>/dev/null || true")
	for _, s := range w.everySecret() {
		if strings.Contains(out, s) {
			tokens++
		}
	}
	return tokens
}

// listen takes the forge's port and writes down what comes.
func listen(to string) error {
	l, err := net.Listen("tcp", "127.0.0.1:3000")
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			b := make([]byte, 1<<16)
			n, _ := conn.Read(b)
			f, err := os.OpenFile(to, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err == nil {
				f.Write(b[:n])
				f.Close()
			}
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
		}()
	}
}
