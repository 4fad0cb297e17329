package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A broker that listens on every address, of one family or of both, is reached at what
// it was told to listen on.
func TestAskHealthOnEveryAddress(t *testing.T) {
	for _, host := range []string{"", "0.0.0.0", "[::]", "127.0.0.1", "localhost"} {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Logf("cannot listen on %q here: %v", host, err)
			continue
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.Listener.Close()
		server.Listener = l
		server.Start()
		if err := askHealth(host + ":" + port); err != nil {
			t.Errorf("%q: %v", host, err)
		}
		server.Close()
	}
}

func TestAskHealth(t *testing.T) {
	status := http.StatusOK
	t.Setenv("http_proxy", "http://192.0.2.1:1") // is not asked
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"store":"failing"}`))
	}))
	address := strings.TrimPrefix(server.URL, "http://")
	if err := askHealth(address); err != nil {
		t.Error(err)
	}
	status = http.StatusServiceUnavailable
	if err := askHealth(address); err == nil || !strings.Contains(err.Error(), `503 Service Unavailable: {"store":"failing"}`) {
		t.Errorf("got %v", err)
	}
	server.Close()
	if err := askHealth(address); err == nil {
		t.Error("an address where nobody listens is healthy")
	}
}
