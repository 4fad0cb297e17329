package fakeforge

import (
	"cmp"
	"net"
	"net/http"
	"time"
)

// TB is the part of testing.TB that Start needs, so that no program links testing.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Server is a forge that listens.
type Server struct {
	*Forge
	URL string
	App App // of Start
	// Listen is how Resume listens: at the same address again, if it is not set anew.
	Listen func() (net.Listener, error)

	server *http.Server
}

// Serve makes a forge answer on l. It is known by the URL of cfg, else by l's address.
func Serve(cfg Config, l net.Listener) (*Server, error) {
	f, err := New(cfg)
	if err != nil {
		l.Close()
		return nil, err
	}
	s := &Server{Forge: f, URL: cmp.Or(cfg.URL, "http://"+l.Addr().String())}
	s.Listen = func() (net.Listener, error) { return net.Listen("tcp", l.Addr().String()) }
	s.serve(l)
	return s, nil
}

func (s *Server) serve(l net.Listener) {
	server := &http.Server{Handler: s.Forge, ReadHeaderTimeout: 10 * time.Second}
	if s.cfg.Around != nil {
		server.Handler = s.cfg.Around(s.Forge)
	}
	s.server = server
	go func() { _ = server.Serve(l) }()
}

// Stop makes the forge unreachable; what it knows stays.
func (s *Server) Stop() { _ = s.server.Close() }

// Resume makes it reachable again.
func (s *Server) Resume() error {
	l, err := s.Listen()
	if err == nil {
		s.serve(l)
	}
	return err
}

// Start serves a forge on loopback for the length of a test, with one confidential
// application that redirects to redirectURI. Held requests are let go at the
// end.
func Start(t TB, cfg Config, redirectURI string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("cannot listen: %v", err)
	}
	s, err := Serve(cfg, l)
	if err != nil {
		t.Fatalf("cannot make a forge: %v", err)
	}
	t.Cleanup(func() {
		s.ClearFaults()
		s.Stop()
	})
	if s.App, err = s.Register(App{Name: "fjmcp", RedirectURIs: []string{redirectURI}}); err != nil {
		t.Fatalf("cannot register the application: %v", err)
	}
	return s
}
