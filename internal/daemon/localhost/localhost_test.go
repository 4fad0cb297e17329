package localhost

import (
	"net"
	"testing"
)

func TestIs(t *testing.T) {
	for host, want := range map[string]bool{
		"forgejo.localhost": true, "a.b.localhost": true, "Forgejo.LocalHost.": true, "localhost": false,
		"notlocalhost": false, "localhost.example.org": false, "127.0.0.1": false, "": false,
	} {
		if got := Is(host); got != want {
			t.Errorf("Is(%q) = %v, want %v", host, got, want)
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
		conn, err := new(Dialer).DialContext(t.Context(), "tcp", "forgejo.localhost:"+port)
		if err != nil {
			t.Errorf("cannot reach the listener on %s: %v", address, err)
			continue
		}
		conn.Close()
	}
	if _, err := new(Dialer).DialContext(t.Context(), "tcp", "no port"); err == nil {
		t.Error("an address without a port was accepted")
	}
}

func TestLiteral(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true, "::ffff:127.0.0.1": true,
		"forgejo.localhost": false, "10.0.0.1": false, "example.org": false, "": false, "localhost.": false,
	} {
		if got := Literal(host); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
}
