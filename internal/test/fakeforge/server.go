package fakeforge

import (
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

// Server is a forge that listens on loopback with one registered application.
type Server struct {
	*Forge
	URL string // http://127.0.0.1:port
	App App
}

// Start serves a forge for the length of a test, with one confidential
// application that redirects to redirectURI. Held requests are let go at the
// end.
func Start(t TB, cfg Config, redirectURI string) *Server {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatalf("cannot make a forge: %v", err)
	}
	app, err := f.Register(App{Name: "fjmcp", RedirectURIs: []string{redirectURI}})
	if err != nil {
		t.Fatalf("cannot register the application: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("cannot listen: %v", err)
	}
	server := &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() {
		f.ClearFaults()
		_ = server.Close()
	})
	return &Server{Forge: f, URL: "http://" + l.Addr().String(), App: app}
}
