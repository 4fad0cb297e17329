package e2e

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

// healthOver says what the broker's health is over the port or, with an address that is a
// path, over the unix socket.
func healthOver(t *testing.T, s *System, address string) int {
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
	r, err := client.Get("http://broker/healthz")
	if err != nil {
		t.Log(err)
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

// TestE2EPort: the port is one way in of two, which may be missing, and comes from a
// unit of its own also where an older package had both in one.
func TestE2EPort(t *testing.T) {
	const port, path = "127.0.0.1:8080", "/run/fjmcp/http.sock"
	s := install(t, standin(t))
	must(t, s.Configure(nil))
	want := func(overPort, overPath int) {
		t.Helper()
		if got := healthOver(t, s, path); got != overPath {
			t.Errorf("%s: got %d, want %d", path, got, overPath)
		}
		if got := healthOver(t, s, port); got != overPort {
			t.Errorf("%s: got %d, want %d", port, got, overPort)
		}
	}

	t.Run("taken", func(t *testing.T) {
		other, err := s.C.Listen(t.Context(), "tcp", port)
		must(t, err)
		defer other.Close()
		must(t, s.Enable(t.Context()))
		if got := healthOver(t, s, path); got != 200 {
			t.Errorf("%s: got %d", path, got)
		}
		if got := run(t, s, "sh", "-c", "systemctl is-active fjmcp-broker.socket fjmcp-tcp.socket || true"); got != "active\nfailed\n" {
			t.Errorf("the sockets are %q", got)
		}
	})
	t.Run("free again", func(t *testing.T) {
		run(t, s, "systemctl", "restart", "fjmcp-broker.service")
		want(200, 200)
	})
	t.Run("not wanted", func(t *testing.T) {
		run(t, s, "sh", "-ec", "systemctl mask --now fjmcp-tcp.socket && systemctl try-restart fjmcp-broker.service")
		want(0, 200)
		run(t, s, "systemctl", "restart", "fjmcp-broker.socket")
		want(0, 200)
		must(t, s.InstallDeb(t.Context()))
		want(0, 200)
	})
	t.Run("wanted again", func(t *testing.T) {
		run(t, s, "sh", "-ec", "systemctl unmask fjmcp-tcp.socket && systemctl restart fjmcp-broker.socket")
		want(200, 200)
	})
	t.Run("upgrade from one unit", func(t *testing.T) {
		const units = "/lib/systemd/system/"
		run(t, s, "sed", "-i", "s|^ListenStream=.*|&\\nListenStream="+port+"|", units+"fjmcp-broker.socket")
		run(t, s, "sh", "-ec", "systemctl stop fjmcp-broker.socket; rm "+units+"fjmcp-tcp.socket; systemctl daemon-reload; systemctl start fjmcp-broker.socket")
		want(200, 200)
		must(t, s.InstallDeb(t.Context()))
		want(200, 200)
		if got, err := s.Property(t.Context(), "fjmcp-tcp.socket", "ActiveState"); err != nil || got != "active" {
			t.Errorf("its own unit is %s, %v", got, err)
		}
	})
}
