package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// fault is something that breaks while sessions start, work, get a new token, and
// stop. Clocks that jump are not among them, since a container shares its host's:
// packages session and unit are tested with one of their own.
type fault struct {
	name        string
	begin, mend func(*testing.T, *System)
	holds       bool // calls, for as long as it lasts
}

// again runs a command in the container over and over until the fault is mended.
func again(name, command string) fault {
	const mended, over = "/run/fault-mended", "/run/fault-over"
	script := "while [ ! -e " + mended + " ]; do " + command + "; sleep 0.3; done; touch " + over
	return fault{name: name,
		begin: func(t *testing.T, s *System) {
			must(t, s.C.Remove(mended))
			must(t, s.C.Remove(over))
			run(t, s, "systemd-run", "--quiet", "--collect", "--unit=fault-"+strings.ReplaceAll(name, " ", "-"), "sh", "-c", script)
		},
		mend: func(t *testing.T, s *System) { // with no help of what may be broken
			must(t, s.C.WriteFile(mended, nil, 0o644))
			await(t, name+" no more", func() bool {
				_, err := s.C.ReadFile(over)
				return err == nil
			})
		},
	}
}

// once runs one command to break something and one to mend it.
func once(name, breaks, mends string) fault {
	script := func(text string) func(*testing.T, *System) {
		return func(t *testing.T, s *System) {
			_, err := s.C.Shell(t.Context(), text)
			must(t, err)
		}
	}
	return fault{name: name, begin: script(breaks), mend: script(mends)}
}

func atForge(name string, f fakeforge.Fault) fault {
	return fault{name: name, holds: f.Kind == "hold",
		begin: func(t *testing.T, s *System) { must(t, s.Forge.Inject(f)) },
		mend:  func(_ *testing.T, s *System) { s.Forge.ClearFaults() },
	}
}

var ordeals = []fault{
	again("launcher killed", "systemctl kill --signal=KILL fjmcp-launcher.service"),
	again("bus restarted", "systemctl restart dbus.service"),
	again("backends killed", "pkill --signal KILL --exact forgejo-mcp"),
	once("credentials refused", "mv /run/fjmcp-private/credentials.sock /run/credentials.away", "mv /run/credentials.away /run/fjmcp-private/credentials.sock"),
	once("egress down", "systemctl stop fjmcp-egress.socket fjmcp-egress.service", "systemctl start fjmcp-egress.socket"),
	once("disk full", "dd if=/dev/zero of=/var/lib/fjmcp/filler bs=64k 2>/dev/null || true", "rm /var/lib/fjmcp/filler"),
	atForge("forge answers 500", fakeforge.Fault{Kind: "status", Status: http.StatusInternalServerError}),
	atForge("forge answers HTML", fakeforge.Fault{Kind: "html"}),
	atForge("forge hangs", fakeforge.Fault{Kind: "hold"}),
}

// Whatever breaks, while sessions start, work, rotate and stop: every request gets
// an answer, which tells nothing of the inside, and when it is mended all works as
// before, with the same login, and nothing is left over.
func TestE2EOrdeals(t *testing.T) {
	s := install(t, standin(t))
	// A small disk of its own for the database.
	run(t, s, "mkdir", "-p", "/var/lib/fjmcp")
	run(t, s, "mount", "-t", "tmpfs", "-o", "size=16m,mode=0700,uid=fjmcp,gid=fjmcp", "tmpfs", "/var/lib/fjmcp")
	must(t, s.Configure(nil))
	must(t, s.Enable(t.Context()))
	l := logIn(t, s, "alice")
	veteran, err := rawClient(t.Context(), s, l.Access)
	must(t, err)
	for _, f := range ordeals {
		t.Run(f.name, func(t *testing.T) { undergo(t, s, l, veteran, f) })
	}
	must(t, veteran.end(t.Context()))
	nothingLeft(t, s)
}

func undergo(t *testing.T, s *System, l tokens, veteran *raw, f fault) {
	doomed, err := rawClient(t.Context(), s, l.Access)
	must(t, err)
	kept(t, s, 2)
	logins := s.Forge.Stats().Exchanges
	before := descriptors(t, s)

	f.begin(t, s)
	mend := sync.OnceFunc(func() { f.mend(t, s) })
	defer mend()
	s.Forge.ExpireAccessTokens() // so that a call rotates
	var all, call sync.WaitGroup
	var started *raw
	all.Go(func() {
		c := newRaw(s, l.Access)
		if clear(t, "starting", c.begin(t.Context())) {
			started = c
		}
	})
	call.Go(func() {
		_, err := veteran.tool(t.Context(), 1, "get_my_user_info", nil)
		clear(t, "a call that rotates", err)
	})
	stopped := false
	all.Go(func() { stopped = clear(t, "stopping", doomed.end(t.Context())) })
	all.Wait()
	if !f.holds {
		call.Wait()
	}
	mend()
	call.Wait()

	await(t, "a call works", func() bool {
		_, err := veteran.tool(t.Context(), 2, "get_my_user_info", nil)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
	fresh, err := rawClient(t.Context(), s, l.Access)
	must(t, err)
	must(t, fresh.end(t.Context()))
	if started != nil {
		must(t, started.end(t.Context()))
	}
	if !stopped {
		must(t, doomed.end(t.Context()))
	}
	if status := post(t, s, l.Access, doomed.session); status != http.StatusNotFound {
		t.Errorf("a session that was ended answers %d", status)
	}
	kept(t, s, 1)
	timers := run(t, s, "systemctl", "list-units", "--all", "--plain", "--no-legend", "fjmcp-reap@*.timer", "fjmcp-session@*.service")
	if strings.Count(timers, "\n") != 2 {
		t.Errorf("of one session there are\n%s", timers)
	}
	if rows := run(t, s, "sqlite3", "-readonly", "/var/lib/fjmcp/fjmcp.db", "SELECT COUNT(*) FROM sessions"); strings.TrimSpace(rows) != "1" {
		t.Errorf("%s sessions are stored", strings.TrimSpace(rows))
	}
	if n := s.Forge.Stats().Exchanges; n != logins {
		t.Errorf("%d logins were needed", n-logins)
	}
	for _, c := range []*raw{veteran, doomed, fresh} {
		c.http.CloseIdleConnections()
	}
	const slack = 10 // connections to the forge and to the database are kept, more or fewer
	await(t, fmt.Sprintf("the broker has about %d descriptors again", before), func() bool { return descriptors(t, s) <= before+slack })
}

// unspoken are words that no client is to read: what is inside, that its user
// should log in, which would mend none of it, and that something went well.
var unspoken = []string{"log in", "200 OK", "sqlite", "database", "/run/", "/var/", "/usr/libexec", "dbus", "D-Bus", ".sock", "no space", "panic", "gorm"}

// clear reports whether something worked; if not, the client must have been told.
func clear(t *testing.T, what string, err error) (worked bool) {
	if err == nil {
		return true
	}
	t.Logf("%s: %v", what, err)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: no answer", what)
	}
	for _, word := range unspoken {
		if strings.Contains(err.Error(), word) {
			t.Errorf("%s: the client is told of %q", what, word)
		}
	}
	return false
}

// descriptors counts those of the broker.
func descriptors(t *testing.T, s *System) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(run(t, s, "sh", "-c", "ls /proc/"+mainPID(t, s)+"/fd | wc -l")))
	must(t, err)
	return n
}
