package localbroker

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/fjmcp/fjmcp-broker/internal/test/fakeforge"
)

// Forge is a fake forge on a loopback port.
type Forge struct {
	*fakeforge.Forge
	URL string

	server *http.Server
}

// StartForge serves a forge at forgejo.localhost, on port if it is free.
func StartForge(port string) (*Forge, error) {
	l, err := listen(port)
	if err != nil {
		return nil, err
	}
	f := &Forge{URL: fmt.Sprintf("http://forgejo.localhost:%d", l.Addr().(*net.TCPAddr).Port)}
	if f.Forge, err = fakeforge.New(fakeforge.Config{URL: f.URL}); err != nil {
		l.Close()
		return nil, err
	}
	f.serve(l)
	return f, nil
}

func (f *Forge) serve(l net.Listener) {
	f.server = &http.Server{Handler: f.Forge}
	go func() { _ = f.server.Serve(l) }()
}

// Stop makes the forge unreachable; what it knows stays.
func (f *Forge) Stop() { f.server.Close() }

// Resume makes it reachable again.
func (f *Forge) Resume() error {
	l, err := net.Listen("tcp", strings.Replace(strings.TrimPrefix(f.URL, "http://"), "forgejo.localhost", "127.0.0.1", 1))
	if err != nil {
		return err
	}
	f.serve(l)
	return nil
}

// listen takes the preferred loopback port, or any when that is in use.
func listen(port string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return l, err
}
