package e2e

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// More sessions live at once than a launcher with the usual limit of descriptors could
// start, and all outlive a restart of the broker.
func TestE2ECrowd(t *testing.T) {
	n := number(t, "FJMCP_E2E_CROWD", 420)
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { gather(t, suite, n) })
	}
}

func gather(t *testing.T, suite string, n int) {
	all := strconv.Itoa(n + 1)
	s := installIn(t, suite, standin(t))
	must(t, s.Configure(map[string]string{
		"FJMCP_BROKER_SESSION_IDLE_TIMEOUT": "24h", "FJMCP_BROKER_SESSIONS_PER_USER": all, "FJMCP_BROKER_SESSIONS_MAX": all, "FJMCP_BROKER_CALLS_PER_MINUTE": "0",
	}))
	must(t, s.Enable(t.Context()))
	l := logIn(t, s, "alice")
	clients := make([]*raw, n)
	each(clients, func(i int) {
		clients[i] = newRaw(s, l.Access)
		if err := clients[i].begin(t.Context()); err != nil {
			t.Errorf("session %d: %v", i, err)
		}
		clients[i].http.CloseIdleConnections()
	})
	if t.Failed() {
		t.Fatal(journal(s, "FJMCP_EVENT=session_failed"))
	}
	kept(t, s, n)
	// 32 starts without a look at the mounts, and those that were under way at the last.
	const most = 32 + 8
	await(t, "the host's mounts of credentials that were read are gone", func() bool {
		left, err := strconv.Atoi(strings.TrimSpace(run(t, s, "sh", "-c", "grep -c fjmcp-session@ /proc/1/mountinfo || true")))
		must(t, err)
		return left <= most
	})
	before := unitsOf(t, s)
	began := time.Now()
	restart(t, s)
	t.Logf("restarted with %d sessions in %s", n, time.Since(began).Round(10*time.Millisecond))
	each(clients, func(i int) {
		if status := post(t, s, l.Access, clients[i].session); status != http.StatusOK {
			t.Errorf("session %d answers %d", i, status)
		}
	})
	t.Logf("all have answered after %s", time.Since(began).Round(10*time.Millisecond))
	if now := unitsOf(t, s); !slices.Equal(before, now) {
		t.Errorf("%d units ran and %d run, or others", len(before), len(now))
	}
	kept(t, s, n)
	run(t, s, "systemctl", "stop", "fjmcp-sessions.slice")
	nothingLeft(t, s)
}

// each calls do for each client, a few at once.
func each(clients []*raw, do func(i int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range 4 {
		all.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range clients {
		next <- i
	}
	close(next)
	all.Wait()
}

// A number of sessions that the limits of launcher and slice do not allow is refused
// by name, all of it at once; what the units come with is enough for the most there can
// be.
func TestE2ELimitsOfUnits(t *testing.T) {
	s := install(t, standin(t))
	must(t, s.Configure(map[string]string{"FJMCP_BROKER_SESSIONS_MAX": "2000"}))
	dropIns := map[string]string{
		"/etc/systemd/system/fjmcp-launcher.service.d/50-local.conf": "[Service]\nLimitNOFILE=1024\n",
		"/etc/systemd/system/fjmcp-sessions.slice.d/50-local.conf":   "[Slice]\nTasksMax=16384\n",
	}
	for path, text := range dropIns {
		must(t, s.C.WriteFile(path, []byte(text), 0o644))
	}
	run(t, s, "systemctl", "daemon-reload")
	must(t, s.Enable(t.Context()))
	if status := get(t, s, "/healthz"); status != http.StatusServiceUnavailable {
		t.Errorf("got %d", status)
	}
	const fault = "configuration: FJMCP_BROKER_SESSIONS_MAX: 2000 sessions are more than "
	says(t, s, fault+"LimitNOFILE=1024 of fjmcp-launcher.service allows for", fault+"TasksMax=16384 of fjmcp-sessions.slice allows for")
	await(t, "the broker ends with status 78", func() bool {
		code, _ := s.Property(t.Context(), brokerUnit, "ExecMainStatus")
		return code == "78"
	})
	for path := range dropIns {
		must(t, s.C.Remove(path))
	}
	run(t, s, "systemctl", "daemon-reload")
	run(t, s, "systemctl", "restart", "fjmcp-launcher.service")
	await(t, "the broker works", func() bool { return get(t, s, "/healthz") == http.StatusOK })
}
