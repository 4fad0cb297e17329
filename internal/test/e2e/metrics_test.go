package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const (
	metricsPort = "127.0.0.1:9464"
	metricsUnit = "fjmcp-metrics.socket"
)

// scrape returns the status and what is told at an address that is a port or, if it is a
// path, a unix socket; 0 where nobody answers.
func scrape(t *testing.T, s *System, address string) (status int, body string) {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.C.DialContext(ctx, network, address)
		},
	}}
	r, err := client.Get("http://broker/metrics")
	if err != nil {
		t.Log(err)
		return 0, ""
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	must(t, err)
	return r.StatusCode, string(text)
}

// TestE2EMetrics: the socket is off as delivered, enabled as docs/operations.md says, with
// the broker running or not, and nothing that happens to it takes the broker along.
func TestE2EMetrics(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) { metrics(t, installIn(t, suite, standin(t))) })
	}
}

func metrics(t *testing.T, s *System) {
	must(t, s.Configure(nil))
	must(t, s.Enable(t.Context()))
	wants := func(t *testing.T, on bool) {
		t.Helper()
		want := map[bool]int{true: 200}[on]
		if got, text := scrape(t, s, metricsPort); got != want || on && !strings.Contains(text, "\nfjmcp_sessions_limit 200\n") {
			t.Fatalf("got %d, want %d:\n%s", got, want, text)
		}
	}
	wants(t, false)
	step := func(name string, do func(*testing.T)) {
		if !t.Run(name, do) {
			t.FailNow()
		}
	}

	step("before the broker runs", func(t *testing.T) {
		run(t, s, "systemctl", "stop", brokerUnit)
		run(t, s, "systemctl", "enable", "--now", metricsUnit)
		wants(t, true) // which starts the broker
		run(t, s, "systemctl", "disable", "--now", metricsUnit)
		run(t, s, "systemctl", "restart", brokerUnit)
		wants(t, false)
	})
	c := connect(t, s, "alice")
	call(t, c, "get_my_user_info", nil)
	step("while the broker runs", func(t *testing.T) {
		// It is enabled, and cannot be started before the broker's next start.
		said := run(t, s, "sh", "-c", "systemctl enable --now "+metricsUnit+" && echo started; journalctl -u "+metricsUnit+" -n 5 -o cat")
		if strings.Contains(said, "\nstarted") || !strings.Contains(said, "Socket service fjmcp-broker.service already active, refusing.") {
			t.Errorf("systemd says\n%s", said)
		}
		if said := run(t, s, "sh", "-c", "fjmcpctl doctor || true"); !strings.Contains(said, metricsUnit+" is enabled and ") {
			t.Errorf("the doctor says\n%s", said)
		}
		run(t, s, "systemctl", "restart", brokerUnit)
		wants(t, true)
		call(t, c, "get_my_user_info", nil)
		_, text := scrape(t, s, metricsPort)
		for _, want := range []string{
			`fjmcp_calls_total{method="tools/call",outcome="ok",tool="get_my_user_info"} 1`, `fjmcp_sessions{state="running"} 1`,
			`fjmcp_health_check{check="store",state="ok"} 1`, "fjmcp_store_free_bytes ", "process_resident_memory_bytes ", "process_open_fds ",
		} {
			if !strings.Contains(text, "\n"+want) {
				t.Errorf("there is no %s in\n%s", want, text)
			}
		}
		if strings.Contains(text, "alice") || strings.Contains(text, "\nprocess_start_time_seconds ") {
			t.Errorf("it tells\n%s", text)
		}
	})
	step("after the main socket's restart, and an upgrade", func(t *testing.T) {
		run(t, s, "systemctl", "restart", "fjmcp-broker.socket")
		wants(t, true)
		must(t, s.InstallDeb(t.Context()))
		wants(t, true)
	})
	step("port taken", func(t *testing.T) {
		run(t, s, "systemctl", "stop", metricsUnit, brokerUnit)
		other, err := s.C.Listen(t.Context(), "tcp", metricsPort)
		must(t, err)
		run(t, s, "systemctl", "restart", brokerUnit)
		if got := healthOver(t, s, "127.0.0.1:8080"); got != 200 {
			t.Errorf("the broker is %d", got)
		}
		if state, err := s.Property(t.Context(), metricsUnit, "ActiveState"); err != nil || state != "failed" {
			t.Errorf("the socket is %s, %v", state, err)
		}
		other.Close()
		run(t, s, "systemctl", "restart", brokerUnit)
		wants(t, true)
	})
	step("the broker cannot start", func(t *testing.T) {
		run(t, s, "sh", "-ec", "echo FJMCP_BROKER_NO=1 >>/etc/fjmcp/broker.env; systemctl restart --no-block "+brokerUnit)
		await(t, "scrapes are refused", func() bool {
			status, text := scrape(t, s, metricsPort)
			return status == 503 && strings.HasPrefix(text, "fjmcp-broker cannot start")
		})
		run(t, s, "sed", "-i", "/FJMCP_BROKER_NO=/d", "/etc/fjmcp/broker.env")
		await(t, "it has given up", func() bool {
			state, err := s.Property(t.Context(), brokerUnit, "ActiveState")
			must(t, err)
			return state == "failed"
		})
		wants(t, true) // which starts it
	})
	step("unix socket", func(t *testing.T) {
		const socket = "/run/fjmcp/metrics.sock"
		run(t, s, "sh", "-ec", `groupadd --system scrapers
			mkdir -p /etc/systemd/system/`+metricsUnit+`.d
			printf '[Socket]\nListenStream=\nListenStream=`+socket+`\nSocketGroup=scrapers\n' >/etc/systemd/system/`+metricsUnit+`.d/unix.conf
			systemctl daemon-reload
			systemctl stop `+metricsUnit+`
			systemctl restart `+brokerUnit)
		wants(t, false)
		if got, _ := scrape(t, s, socket); got != 200 {
			t.Errorf("root gets %d", got)
		}
		if got := run(t, s, "stat", "-c", "%U:%G %a", socket); got != "root:scrapers 660\n" {
			t.Errorf("it is %s", got)
		}
		const connect = `perl -MIO::Socket::UNIX -e 'exit(IO::Socket::UNIX->new(Peer => "` + socket + `") ? 0 : 1)'`
		run(t, s, "setpriv", "--reuid=nobody", "--regid=scrapers", "--clear-groups", "sh", "-c", connect)
		if said := run(t, s, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh", "-c", connect+" || echo refused"); said != "refused\n" {
			t.Errorf("others get %q", said)
		}
	})
	step("units", func(t *testing.T) {
		run(t, s, "systemd-analyze", "verify", metricsUnit, brokerUnit)
	})
}
