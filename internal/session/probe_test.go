package session_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/session"
	"github.com/fjmcp/fjmcp-broker/internal/session/unit"
)

// script is a backend that is a shell script.
func script(t *testing.T, mode os.FileMode, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forgejo-mcp")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// A probe needs no forge and no user, and leaves nothing behind.
func TestProbe(t *testing.T) {
	backends := map[string]string{"standin": "standin", "everything": "everything"}
	if real := os.Getenv("FJMCP_TEST_FORGEJO_MCP"); real != "" {
		backends["forgejo-mcp"] = real
	}
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			w := start(t, backend)
			asked := w.forge.Requests("/api/v1/version")
			w.forge.Stop()
			w.must(w.Probe(t.Context()))
			w.must(w.forge.Resume())
			if n := w.forge.Requests("/api/v1/version") - asked; n != 0 {
				t.Errorf("the forge was asked %d times", n)
			}
			units, err := w.cfg.Launcher.List(t.Context())
			if w.must(err); len(units) != 0 || len(w.Awake()) != 0 {
				t.Errorf("left: %v, %v", units, w.Awake())
			}
			if all := w.log.String(); strings.Contains(all, "FJMCP_EVENT") || strings.Contains(all, "level=WARN") {
				t.Errorf("it was noted:\n%s", all)
			}
		})
	}
}

// What keeps a session from starting is told by a probe in the same words, and a session
// that it has kept from starting is a reason for the next.
func TestProbeFails(t *testing.T) {
	for name, c := range map[string]struct {
		backend string
		reason  control.Reason
		detail  string
	}{
		"missing":        {"/nonexistent/forgejo-mcp", control.ReasonBackendMissing, "/nonexistent/forgejo-mcp"},
		"not executable": {script(t, 0o644, "exit 0"), control.ReasonBackendNotExecutable, "want a program file with mode 0755"},
		"crashes":        {script(t, 0o755, "echo 'no such flag' >&2; exit 3"), control.ReasonCrashed, "exit status 3"},
		"too old":        {"old", control.ReasonBackendTooOld, "install 2.18.0 or"},
		"hangs":          {script(t, 0o755, "exec sleep 600"), unit.ReasonTimeout, "no answer to initialize within"},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, c.backend)
			cfg := w.cfg
			if c.reason == unit.ReasonTimeout {
				cfg.StartTimeout, cfg.ProbeTimeout = time.Second, time.Second/2
			}
			var told []control.Reason
			cfg.StartFailed = func(why control.Reason) { told = append(told, why) }
			m := session.New(cfg)
			err := m.Probe(t.Context())
			fail, ok := err.(*session.StartError)
			if !ok || fail.Reason != c.reason || !strings.Contains(fail.Detail, c.detail) {
				t.Errorf("got %v, want %s, %s", err, c.reason, c.detail)
			}
			s, err := m.Shared(t.Context(), w.access)
			w.must(err)
			if _, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)); session.StartReason(err) != c.reason || !slices.Equal(told, []control.Reason{c.reason}) {
				t.Errorf("a session's start gave %v, told %q", err, told)
			}
			if units, err := w.cfg.Launcher.List(t.Context()); err != nil || len(units) != 0 {
				t.Errorf("left: %v, %v", units, err)
			}
		})
	}
}

// A probe that is cut off ends its unit.
func TestProbeIsCutOff(t *testing.T) {
	w := start(t, script(t, 0o755, "exec sleep 600"))
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { over <- w.Probe(ctx) }()
	for units := 0; units == 0; {
		all, err := w.cfg.Launcher.List(t.Context())
		w.must(err)
		units = len(all)
	}
	cancel()
	if err := <-over; err == nil {
		t.Error("it went well")
	}
	if units, err := w.cfg.Launcher.List(t.Context()); err != nil || len(units) != 0 {
		t.Errorf("left: %v, %v", units, err)
	}
}
