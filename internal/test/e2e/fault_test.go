package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// get returns the status of a GET in the container.
func get(t *testing.T, s *System, path string) int {
	t.Helper()
	resp, err := s.HTTP().Get(PublicURL + path)
	must(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// says waits for the broker's journal to contain every text.
func says(t *testing.T, s *System, texts ...string) {
	t.Helper()
	for _, text := range texts {
		await(t, "the journal says "+text, func() bool {
			return strings.Contains(journal(s, "-u", "fjmcp-broker.service"), text)
		})
	}
}

// Every fault of a configuration is reported at once and answered with 503; once
// it is mended the next connection works, with no further command.
func TestE2EBadConfiguration(t *testing.T) {
	s := install(t, standin(t))
	must(t, s.Configure(map[string]string{
		"FJMCP_BROKER_FORGEJO_CLIENT_ID": "", "FJMCP_BROKER_FORGEJO_SCOPES": "read:users",
		"FJMCP_BROKER_ACCESS_TOKEN_TTL": "soon", "FJMCP_BROKER_NO_SUCH_THING": "1",
	}))
	must(t, s.C.Remove(secretFile))
	must(t, s.Enable(t.Context()))
	for range 8 {
		if status := get(t, s, "/healthz"); status != http.StatusServiceUnavailable {
			t.Fatalf("got %d", status)
		}
	}
	says(t, s, "FJMCP_BROKER_FORGEJO_CLIENT_ID", "read:users", "FJMCP_BROKER_ACCESS_TOKEN_TTL",
		"FJMCP_BROKER_NO_SUCH_THING", secretFile)
	await(t, "the broker ends with status 78", func() bool {
		code, _ := s.Property(t.Context(), "fjmcp-broker.service", "ExecMainStatus")
		return code == "78"
	})
	must(t, s.Configure(nil))
	await(t, "the broker works", func() bool { return get(t, s, "/healthz") == http.StatusOK })
	useTools(t, connect(t, s, "alice"), "alice")
}

// connectError connects and wants the error that a client's user is shown, and no
// unit left. A broker that never answers fails the test with its deadline.
func connectError(t *testing.T, s *System, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := s.Connect(ctx, "alice", nil)
	if err == nil {
		c.Close()
		t.Fatal("connected")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
	if left := units(t, s); len(left) > 0 {
		t.Errorf("left %+v", left)
	}
}

func TestE2EBackendFaults(t *testing.T) {
	s := enabled(t, "", nil)
	connectError(t, s, "forgejo-mcp program is missing")
	says(t, s, "/usr/local/bin/forgejo-mcp")

	must(t, s.C.WriteFile(backend, []byte("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho famous last words >&2\nexit 3\n"), 0o755))
	connectError(t, s, "ended unexpectedly")
	says(t, s, "famous last words")

	must(t, s.InstallBackend(standin(t)))
	useTools(t, connect(t, s, "alice"), "alice")
}

// While the forge is stopped, another user listens in its place, and is sent nothing: no
// token of a session's, no secret of the broker's.
func TestE2EForgeUnreachable(t *testing.T) {
	s := enabled(t, standin(t), map[string]string{"FJMCP_BROKER_FORGEJO_USER": "root"})
	c := connect(t, s, "alice")
	useTools(t, c, "alice")

	s.Forge.Stop()
	run(t, s, "systemd-run", "--uid=nobody", "--unit=impostor", "systemd-socket-activate", "-l", "127.0.0.1:3000", "-a", "--inetd", "/usr/bin/tee", "-a", "/tmp/taken")
	await(t, "the impostor listens", func() bool { return strings.Contains(run(t, s, "ss", "-ltn"), "127.0.0.1:3000") })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if again, err := c.Again(ctx); err == nil {
		again.Close()
		t.Error("a session started without the forge")
	} else if !strings.Contains(err.Error(), "Forgejo cannot be reached") {
		t.Errorf("got %v", err)
	}
	says(t, s, "session failed")
	if _, err := s.Connect(ctx, "bob", nil); err == nil {
		t.Error("bob logged in at the impostor")
	}
	await(t, "the journal says who listens", func() bool {
		return strings.Contains(journal(s, "-u", "fjmcp-egress.service"), "uid 65534 listens there, and it should be root")
	})
	run(t, s, "systemctl", "stop", "impostor.service")
	if taken := run(t, s, "sh", "-c", "cat /tmp/taken || true"); strings.Contains(taken, "token") || strings.Contains(taken, ClientSecret) {
		t.Errorf("the impostor was sent %q", taken)
	}

	must(t, s.Forge.Resume())
	again, err := c.Again(t.Context())
	must(t, err)
	useTools(t, again, "alice")
	useTools(t, c, "alice")
}

func TestE2EWrongClientSecret(t *testing.T) {
	s := install(t, standin(t))
	must(t, s.Configure(nil))
	must(t, s.SetClientSecret("wrong"))
	must(t, s.Enable(t.Context()))
	if c, err := s.Connect(t.Context(), "alice", nil); err == nil {
		c.Close()
		t.Fatal("connected")
	} else {
		t.Log(err)
	}
	says(t, s, "the credential forgejo-client-secret")
	if text := journal(s); strings.Contains(text, ClientSecret) {
		t.Error("the secret is in the journal")
	}

	must(t, s.SetClientSecret(ClientSecret))
	run(t, s, "systemctl", "restart", "fjmcp-broker.service")
	useTools(t, connect(t, s, "alice"), "alice")
}
