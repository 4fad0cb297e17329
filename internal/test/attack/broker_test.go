package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inBrokersPlace runs the attackers' program in a unit that is the broker's in all but
// name, program and sockets, and returns what it says. The broker runs beside it.
func (w *world) inBrokersPlace() string {
	unit := w.run("cat /usr/lib/systemd/system/fjmcp-broker.service; cat /etc/systemd/system/fjmcp-broker.service.d/*.conf 2>/dev/null || true")
	var b strings.Builder
	for line := range strings.Lines(unit) {
		name, _, _ := strings.Cut(line, "=")
		switch name {
		case "ExecStart":
			b.WriteString("ExecStart=" + program + " attack B\nStandardInput=file:/root/facts\nStandardOutput=truncate:/root/told\n")
		case "Sockets", "Requires", "Restart", "WatchdogSec":
		case "TimeoutStartSec":
			b.WriteString("TimeoutStartSec=300\n")
		default:
			b.WriteString(line)
		}
	}
	in, err := json.Marshal(w.facts)
	w.must(err)
	w.must(w.s.C.WriteFile("/root/facts", in, 0o600))
	w.must(w.s.C.WriteFile("/run/systemd/system/fjmcp-taken.service", []byte(b.String()), 0o644))
	w.run("systemctl daemon-reload; systemctl start fjmcp-taken.service")
	out, err := w.s.C.ReadFile("/root/told")
	w.must(err)
	return string(out)
}

// pretend tells the service manager that a session is this unit's main process, and
// waits for the unit's end.
func pretend(socket string, s *self) error {
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "READY=1\nMAINPID=%d", s.Pids["session of bob"])
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	return nil
}

// askLauncher sends one packet with descriptors, and returns the answer.
func askLauncher(packet string, fds ...int) (answer string, err error) {
	conn, err := net.DialTimeout("unixpacket", "/run/fjmcp-private/launcher.sock", 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte(packet), rights, nil); err != nil {
		return "", err
	}
	b := make([]byte, 1<<18)
	n, err := conn.Read(b)
	return string(b[:n]), err
}

// sockets are a session's ends, as the launcher wants them.
func sockets() (fds []int, end func()) {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		fds = append(fds, pair[0], pair[1])
	}
	return fds, func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

// packets break the launcher's grammar.
var packets = map[string]string{
	"no JSON":                    "start",
	"an unknown operation":       `{"op":"run","id":"attack00"}`,
	"a foreign unit":             `{"op":"stop","id":"x.service"}`,
	"another template's unit":    `{"op":"stop","id":"../getty@tty1"}`,
	"a path":                     `{"op":"stop","id":"../../etc"}`,
	"an empty id":                `{"op":"stop","id":""}`,
	"an id with a wildcard":      `{"op":"stop","id":"*"}`,
	"an id with an at sign":      `{"op":"stop","id":"a@b"}`,
	"an id with a specifier":     `{"op":"touch","id":"%i"}`,
	"an id with a line break":    `{"op":"touch","id":"attack00\n"}`,
	"an id with a null":          `{"op":"touch","id":"attack00\u0000"}`,
	"an id in capitals":          `{"op":"touch","id":"ATTACK00"}`,
	"an id that is too long":     `{"op":"touch","id":"abcdefghijklmnopqrstuvwxyz0"}`,
	"a property":                 `{"op":"start","id":"attack00","session":"attack00","account":"attack00","idle_seconds":60,"max_seconds":60,"properties":{"User":"root"}}`,
	"a command":                  `{"op":"start","id":"attack00","session":"attack00","account":"attack00","idle_seconds":60,"max_seconds":60,"exec":"/bin/sh"}`,
	"a user's name":              `{"op":"start","id":"attack00","session":"attack00","account":"attack00","user":"a","idle_seconds":60,"max_seconds":60}`,
	"an account with a break":    `{"op":"start","id":"attack00","session":"attack00","account":"attack00\nFJMCP_USER=root","idle_seconds":60,"max_seconds":60}`,
	"an account with an escape":  `{"op":"start","id":"attack00","session":"attack00","account":"attack00\u001b[2J","idle_seconds":60,"max_seconds":60}`,
	"no end":                     `{"op":"start","id":"attack00","session":"attack00","account":"attack00","idle_seconds":60,"max_seconds":0}`,
	"an end that overflows":      `{"op":"start","id":"attack00","session":"attack00","account":"attack00","idle_seconds":60,"max_seconds":9223372036854775807}`,
	"an end before its start":    `{"op":"start","id":"attack00","session":"attack00","account":"attack00","idle_seconds":-1,"max_seconds":60}`,
	"a session's id with spaces": `{"op":"start","id":"attack00","session":"a b","account":"attack00","idle_seconds":60,"max_seconds":60}`,
	"two requests":               `{"op":"list"}{"op":"list"}`,
	"nothing":                    "",
	"too much":                   `{"op":"list","id":"` + strings.Repeat("a", 8000) + `"}`,
}

func brokerLauncher() (all []attack) {
	for _, name := range sorted(packets) {
		packet := packets[name]
		all = append(all, attack{who: "B", name: "ask the launcher with " + name, right: "refused as no request", in: func(*self) result {
			fds, end := sockets()
			defer end()
			if !strings.Contains(packet, `"start"`) {
				fds = nil
			} else {
				fds = []int{fds[0], fds[2]}
			}
			answer, err := askLauncher(packet, fds...)
			closed := packet == "" && err != nil // an empty packet is the end of a stream
			return verdict(closed || strings.Contains(answer, "bad_request"), "%s %v", answer, err)
		}})
	}
	picks := map[string]func(fds []int) []int{
		"no descriptors":           func([]int) []int { return nil },
		"one descriptor":           func(fds []int) []int { return fds[:1] },
		"descriptors in disorder":  func(fds []int) []int { return []int{fds[2], fds[0]} },
		"files for sockets":        func(fds []int) []int { return []int{open("/dev/null"), open("/etc/passwd")} },
		"directories for sockets":  func(fds []int) []int { return []int{open("/"), open("/var/lib/fjmcp")} },
		"a hundred descriptors":    func(fds []int) []int { return repeat(fds[0], 100) },
		"its own socket as a pair": func(fds []int) []int { return []int{fds[2], fds[3]} },
	}
	for _, name := range sorted(picks) {
		pick := picks[name]
		all = append(all, attack{who: "B", name: "start a session with " + name, right: "refused as no request", in: func(*self) result {
			fds, end := sockets()
			defer end()
			answer, err := askStart("attack01", pick(fds)...)
			return verdict(strings.Contains(answer, "bad_request"), "%s %v", answer, err)
		}})
	}
	return append(all,
		attack{who: "B", name: "start a session in the place of one that runs", right: "refused", in: func(s *self) result {
			fds, end := sockets()
			defer end()
			_, id, _ := strings.Cut(strings.TrimSuffix(s.Other, ".service"), "@")
			answer, err := askStart(id, fds[0], fds[2])
			return verdict(strings.Contains(answer, "exists"), "%s %v", answer, err)
		}},
		attack{who: "B", name: "start sessions without end", right: "for one user 64 at once, then 4 a second", in: func(*self) result { return flood() }},
		attack{who: "B", name: "ask for a session's token as the service manager does", right: "nothing", in: func(s *self) result {
			d := net.Dialer{LocalAddr: &net.UnixAddr{Name: "@0123456789abcdef/unit/" + s.Other + "/forgejo-token", Net: "unix"}, Timeout: 5 * time.Second}
			conn, err := d.Dial("unix", "/run/fjmcp-private/credentials.sock")
			if err != nil {
				return refused(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			b := make([]byte, 4096)
			n, err := conn.Read(b)
			return verdict(n == 0, "%d bytes, %v", n, err)
		}},
		attack{who: "B", name: "reach the service manager and the bus", right: "refused", in: func(*self) result {
			return each([]string{"/run/systemd/private", "/run/dbus/system_bus_socket", "/run/systemd/io.system.ManagedOOM", "/run/systemd/userdb/io.systemd.DynamicUser", "/run/systemd/journal/io.systemd.journal", "/run/udev/control"}, func(path string) error {
				conn, err := net.DialTimeout("unix", path, time.Second)
				if err == nil {
					conn.Close()
				}
				return err
			}, os.ErrNotExist)
		}},
		attack{who: "B", name: "end sessions' processes", right: "refused", in: (*self).kill},
		attack{who: "B", name: "trace sessions' processes", right: "refused", in: func(s *self) result { return s.others(unix.PtraceSeize) }},
		attack{who: "B", name: "read sessions' memory", right: "refused", in: func(s *self) result { return s.others(vmRead) }},
		attack{who: "B", name: "see processes of others", right: "none", in: func(*self) result {
			var found []string
			for _, dir := range processes() {
				if st, ok := sys(dir); ok && st.Uid != uint32(os.Getuid()) {
					found = append(found, dir)
				}
			}
			return none(found)
		}},
	)
}

// askStart has the launcher start a session of one user.
func askStart(id string, fds ...int) (answer string, err error) {
	return askLauncher(fmt.Sprintf(`{"op":"start","id":%q,"session":"attack00","account":"attack00","idle_seconds":60,"max_seconds":60}`, id), fds...)
}

// flood starts sessions of one user for some seconds. The service manager finds no token
// for them, so they end at once.
func flood() result {
	const length, workers, slack = 8 * time.Second, 8, 10
	begin := time.Now()
	var carried, refused, faulty atomic.Int64
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := 0; time.Since(begin) < length; i++ {
				fds, end := sockets()
				answer, err := askStart(fmt.Sprintf("attack%d", 10000+i*workers+worker), fds[0], fds[2])
				end()
				switch {
				case strings.Contains(answer, "bad_request"):
					faulty.Add(1)
				case err != nil || strings.Contains(answer, "too often"):
					refused.Add(1)
				default:
					carried.Add(1)
				}
			}
		})
	}
	all.Wait()
	most := 64 + 4*int64(time.Since(begin)/time.Second+1) + slack
	return verdict(carried.Load() <= most && carried.Load() > 0 && faulty.Load() == 0, "%d started in %s, %d refused", carried.Load(), time.Since(begin).Round(time.Second), refused.Load())
}

func open(path string) int {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return fd
}

func repeat(fd, times int) (all []int) {
	for range times {
		all = append(all, fd)
	}
	return all
}

// hostile is what a broker in an attacker's hands may say to root's terminal.
const hostile = "\x1b]0;owned\x07\x1b[2J\x9b31m\u009b2J\u202egnp.exe\u2066\u200b\rrm -rf\nFAKE row  alice\ttab\x00\x08\x7f\u2028end"

// brokerOutside are attacks of whoever holds the broker that are seen from outside.
func brokerOutside() (all []attack) {
	for _, command := range []string{"status", "sessions list", "sessions show attack0", "sessions stop attack0", "clients list", "clients remove x", "clients add x --redirect-uri https://x.example/cb", "drain", "key rotate", "sessions list --json", "status --json", "clients list --json"} {
		for _, kind := range sorted(hostileAdmin) {
			handler := hostileAdmin[kind]
			all = append(all, attack{who: "B", name: "send escapes to root's terminal: fjmcpctl " + command + ", " + kind, right: "clean text", out: func(w *world) result {
				return w.terminal(command, handler)
			}})
		}
	}
	exposures := map[string]string{"fjmcp-broker.service": "12", "fjmcp-launcher.service": "12", "fjmcp-egress.service": "12", "a session's unit": "6"}
	for _, unit := range sorted(exposures) {
		most := exposures[unit]
		all = append(all, attack{who: "B", name: "find a way out of " + unit, right: "systemd's exposure is at most " + most + " of 100", out: func(w *world) result {
			name := unit
			if strings.Contains(unit, " ") {
				name = w.mine()
			}
			r := w.as("root", "systemd-analyze", "security", "--no-pager", "--threshold="+most, name)
			lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
			return verdict(r.Code == 0, "%s", lines[len(lines)-1])
		}})
	}
	bounds := map[string]string{"MemoryMax": "536870912", "MemorySwapMax": "0", "TasksMax": "128", "LimitNPROC": "128", "LimitNOFILE": "1024", "LimitCORE": "0", "PrivateNetwork": "yes", "PrivateUsers": "yes", "ProtectProc": "invisible", "RestrictNamespaces": "yes", "CapabilityBoundingSet": ""}
	for _, property := range sorted(bounds) {
		want := bounds[property]
		all = append(all, attack{who: "C", name: "run in a unit without " + property + "=", right: fmt.Sprintf("%q", want), out: func(w *world) result {
			got, err := w.s.Property(w.t.Context(), w.mine(), property)
			w.must(err)
			return verdict(got == want, "%q", got)
		}})
	}
	return append(all,
		attack{who: "B", name: "have the service manager take a session for the broker", right: "the session lives", out: func(w *world) result {
			main := w.pid("fjmcp-taken.service")
			w.run("systemctl stop fjmcp-taken.service")
			err := w.works()
			return verdict(err == nil && main != w.facts.Pids["session of bob"], "main process %d, %v", main, err)
		}},
		attack{who: "B", name: "leave links in its state for root to follow", right: "what they lead to is untouched", out: func(w *world) result {
			before := w.run("stat -c '%a %U %n' /root/planted /etc/shadow /etc/fjmcp/credentials/planted")
			w.run("cd /var/lib/fjmcp && ln -sf /root/planted a && ln -sf /etc/shadow fjmcp.db.bak && mkdir -p d && ln -sf /etc/fjmcp/credentials d/c && chown -hR fjmcp: a d fjmcp.db.bak && systemctl restart fjmcp-broker.service")
			after := w.run("stat -c '%a %U %n' /root/planted /etc/shadow /etc/fjmcp/credentials/planted; rm -r /var/lib/fjmcp/a /var/lib/fjmcp/d /var/lib/fjmcp/fjmcp.db.bak")
			return verdict(before == after, "%s", after)
		}},
		attack{who: "B", name: "run on without a bound of memory", right: "MemoryMax= and TasksMax= on the broker", out: func(w *world) result {
			memory, err := w.s.Property(w.t.Context(), "fjmcp-broker.service", "MemoryMax")
			w.must(err)
			tasks, err := w.s.Property(w.t.Context(), "fjmcp-broker.service", "TasksMax")
			w.must(err)
			return verdict(memory != "infinity" && tasks != "infinity", "%s bytes, %s tasks", memory, tasks)
		}},
	)
}

// hostileAdmin are answers of the admin socket: as errors, and as what was asked for.
var hostileAdmin = map[string]http.HandlerFunc{
	"as an error": func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(rw).Encode(map[string]string{"error": hostile})
	},
	"as an answer": func(rw http.ResponseWriter, r *http.Request) {
		word := map[string]any{
			"id": hostile, "user": hostile, "client": hostile, "client_id": hostile, "client_secret": hostile, "kind": hostile, "state": hostile, "unit": hostile, "protocol": hostile, "name": hostile, "auth_method": hostile, "launcher": hostile,
			"redirect_uris": []string{hostile}, "method": hostile, "tool": hostile, "created": time.Now(), "last_used": time.Now(), "ends": time.Now(), "error": hostile,
		}
		switch r.Method + " " + strings.Split(r.URL.Path, "/")[1] {
		case "GET sessions", "GET clients":
			if strings.Count(r.URL.Path, "/") > 1 {
				word["calls"] = []any{callOf(word)}
				break
			}
			json.NewEncoder(rw).Encode([]any{word})
			return
		case "POST sessions":
			json.NewEncoder(rw).Encode(map[string]any{"stopped": []any{word}, "failed": []any{map[string]string{"id": hostile, "error": hostile}}})
			return
		case "GET status":
			problem := map[string]any{"url": hostile, "version": hostile, "problem": hostile, "kind": hostile, "path": hostile, "schema": hostile}
			word = map[string]any{"health": hostile, "version": hostile, "public_url": hostile, "forgejo": problem, "launcher": problem, "store": problem, "sessions": map[string]any{}}
		}
		json.NewEncoder(rw).Encode(word)
	},
}

// callOf is a copy for the list of calls, which cannot hold itself.
func callOf(word map[string]any) map[string]any {
	again := map[string]any{}
	for k, v := range word {
		if k != "calls" {
			again[k] = v
		}
	}
	return again
}

// terminal runs a command of fjmcpctl against a socket of the attacker's and wants what
// it prints to be harmless.
func (w *world) terminal(command string, answer http.HandlerFunc) result {
	const socket = "/var/lib/fjmcp/evil.sock"
	l, err := net.Listen("unix", fmt.Sprintf("/proc/%d/root%s", w.s.C.Leader(), socket))
	w.must(err)
	server := &http.Server{Handler: answer, ReadHeaderTimeout: time.Second}
	go server.Serve(l)
	defer server.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	out, err := w.s.C.Run(ctx, "/bin/sh", "-c", "fjmcpctl --socket "+socket+" "+command+" 2>&1; true")
	w.must(err)
	for i, r := range out {
		if strange(r) || r == '\n' && strings.HasPrefix(out[i+1:], "FAKE") {
			return verdict(false, "U+%04X in %q", r, out[max(0, i-20):min(len(out), i+20)])
		}
	}
	return verdict(true, "clean: %s", out)
}
