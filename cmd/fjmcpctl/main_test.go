package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fjmcp/fjmcp-broker/internal/admin"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fjmcpctl": main})
}

// TestScripts runs testdata/*.txt; $SOCKET is an admin socket with two sessions.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(env *testscript.Env) error {
		socket := filepath.Join(env.WorkDir, "admin.sock")
		env.Setenv("SOCKET", socket)
		l, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		s := &http.Server{Handler: admin.Handler(twoSessions, slog.New(slog.NewTextHandler(io.Discard, nil)))}
		go func() { _ = s.Serve(l) }()
		env.Defer(func() { s.Close() })
		return nil
	}})
}

func twoSessions(context.Context) ([]admin.Session, error) {
	now := time.Now()
	return []admin.Session{
		{ID: "aa11", User: "alice", Client: "Claude", State: "dormant", Protocol: "2025-06-18", Created: now.Add(-3 * time.Hour), LastUsed: now.Add(-2 * time.Hour)},
		{ID: "bb22", User: "bob", Client: "VS\nCode", State: "running", Unit: "fjmcp-session@x.service", Protocol: "2025-11-25", Created: now.Add(-5 * time.Minute), LastUsed: now, InFlight: 2},
	}, nil
}
