package integration

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// A forge that listens on a unix socket alone, behind a proxy that speaks TLS to browsers:
// broker and sessions reach it without a port that somebody else could take.
func TestForgeOnASocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "forgejo.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, "standin", "FJMCP_BROKER_FORGEJO_URL=https://git.example.org", "FJMCP_BROKER_FORGEJO_SOCKET="+socket)
	forge := &http.Server{Handler: w.forge}
	go func() { _ = forge.Serve(l) }()
	t.Cleanup(func() { forge.Close() })
	direct := strings.Replace(strings.TrimPrefix(w.forge.URL, "http://"), "forgejo.localhost", "127.0.0.1", 1)
	w.transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "git.example.org:443" {
			t.Errorf("the browser goes to %s", address)
		}
		return new(net.Dialer).DialContext(ctx, network, direct)
	}
	alice := w.mustConnect("alice")
	w.mustCall(alice, "get_my_user_info", nil, `"login":"alice"`)
	w.forge.ExpireAccessTokens()
	w.mustCall(alice, "get_my_user_info", nil, `"login":"alice"`)
}
