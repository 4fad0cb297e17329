package localhost

import (
	"net"
	"testing"
)

func TestResolve(t *testing.T) {
	for host, want := range map[string]string{
		"forgejo.localhost":     "127.0.0.1",
		"a.b.localhost":         "127.0.0.1",
		"Forgejo.LocalHost.":    "127.0.0.1",
		"localhost":             "localhost",
		"notlocalhost":          "notlocalhost",
		"localhost.example.org": "localhost.example.org",
		"127.0.0.1":             "127.0.0.1",
		"":                      "",
	} {
		if got := Resolve(host); got != want {
			t.Errorf("Resolve(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestDialContext(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("cannot listen on %s here: %v", address, err)
			continue
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		conn, err := DialContext(t.Context(), "tcp", "forgejo.localhost:"+port)
		if err != nil {
			t.Errorf("cannot reach the listener on %s: %v", address, err)
			continue
		}
		conn.Close()
	}
	if _, err := DialContext(t.Context(), "tcp", "no port"); err == nil {
		t.Error("an address without a port was accepted")
	}
}
