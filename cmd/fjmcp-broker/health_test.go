package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		":8080":            "127.0.0.1:8080",
		"0.0.0.0:8080":     "127.0.0.1:8080",
		"[::]:8080":        "[::1]:8080",
		"192.0.2.1:8080":   "192.0.2.1:8080",
		"mcp.example:8080": "mcp.example:8080",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("%s: got %s, want %s", listen, got, want)
		}
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
