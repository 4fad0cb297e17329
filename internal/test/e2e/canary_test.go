package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
	"github.com/fjmcp/fjmcp-broker/internal/test/search"
)

// A session's child finds no secret in anything that it can read, by any path: neither
// its own user's token nor another's, nor what is the broker's. /usr/local is a file
// system of its own, as on many machines, with forgejo-mcp in it.
func TestE2ECanary(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			s := installIn(t, suite, "")
			run(t, s, "mount", "-t", "tmpfs", "tmpfs", "/usr/local")
			const backend, known = "/usr/local/bin/forgejo-mcp", "this stands in a file that sessions see"
			must(t, s.C.CopyIn(standin(t), backend, 0o755))
			must(t, s.C.WriteFile("/usr/local/share/known", []byte(known), 0o644))
			must(t, s.Configure(map[string]string{"FJMCP_BROKER_FORGEJO_MCP": backend}))
			must(t, s.Enable(t.Context()))
			alice, bob := connect(t, s, "alice"), connect(t, s, "bob")

			key, err := s.C.ReadFile("/etc/fjmcp/credentials/store-key")
			must(t, err)
			secrets := append(s.Secrets(), known, string(key))
			for _, c := range []*loginclient.Client{alice, bob} {
				token, err := c.AccessToken(t.Context())
				must(t, err)
				secrets = append(secrets, token)
			}
			holdsNone(t, alice, secrets, known)
			run(t, s, "systemctl", "start", "fjmcp-unmount.service")
			if left := run(t, s, "sh", "-c", "grep fjmcp-session@ /proc/1/mountinfo || true"); left != "" {
				t.Errorf("mounted after fjmcp-unmount.service:\n%s", left)
			}
			holdsNone(t, alice, secrets, known)
			useTools(t, alice, "alice")
		})
	}
}

// holdsNone has the backend of c search, and wants of all secrets but the known one to
// be found.
func holdsNone(t *testing.T, c *loginclient.Client, secrets []string, known string) {
	t.Helper()
	found := lookFor(t, c, secrets)
	t.Logf("read %d files with %d bytes, below %d mounts; %d refused", found.Files, found.Bytes, len(found.Mounts), found.Denied)
	if found.Denied == 0 {
		t.Error("nothing is refused")
	}
	seen := false
	for _, h := range found.Hits {
		if secrets[h.Secret] != known {
			t.Errorf("%s holds secret %d", h.Path, h.Secret)
		}
		seen = seen || h.Path == "/usr/local/share/known"
	}
	if !seen {
		t.Errorf("the search does not see what is there: %+v", found)
	}
}

// A change of the sandbox reaches sessions that run: a restart of the broker ends their
// units, and they wake in it.
func TestE2EChangedSandbox(t *testing.T) {
	s := enabled(t, standin(t), nil)
	c := connect(t, s, "alice")
	useTools(t, c, "alice")
	before := units(t, s)
	restart(t, s)
	useTools(t, c, "alice")
	if now := units(t, s); len(before) != 1 || !slices.Equal(before, now) {
		t.Errorf("with nothing changed the units were %+v and are %+v", before, now)
	}
	must(t, s.C.WriteFile("/etc/systemd/system/fjmcp-session@.service.d/50-local.conf", []byte("[Service]\nLimitNPROC=77\n"), 0o644))
	restart(t, s)
	useTools(t, c, "alice")
	now := units(t, s)
	if len(now) != 1 || slices.Equal(before, now) {
		t.Fatalf("the units were %+v and are %+v", before, now)
	}
	if limit, err := s.Property(t.Context(), now[0].Name, "LimitNPROC"); err != nil || limit != "77" {
		t.Errorf("LimitNPROC is %s, %v", limit, err)
	}
}

// closed are directories that a session's child cannot list, and what was a hole once.
var closed = []string{"/", "/run", "/run/credentials", "/etc/fjmcp", "/etc/fjmcp/credentials", "/var/lib/fjmcp", "/var/lib/fjmcp-broker-root", "/var/lib/fjmcp-session-root", "/usr/lib/fjmcp/session-root"}

// lookFor has the backend of c look for secrets wherever it can.
func lookFor(t *testing.T, c *loginclient.Client, secrets []string) search.Report {
	t.Helper()
	if slices.Contains(secrets, "") {
		t.Fatal("an empty secret is everywhere")
	}
	var found search.Report
	must(t, json.Unmarshal([]byte(call(t, c, "search", search.Request{Complements: search.Complements(secrets...), Paths: closed})), &found))
	if !slices.ContainsFunc(found.Mounts, func(at string) bool { return strings.HasPrefix(at, "/run/credentials/") }) {
		t.Errorf("the credential's own mount is not among %q", found.Mounts)
	}
	return found
}
