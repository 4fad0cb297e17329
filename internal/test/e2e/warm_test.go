package e2e

import (
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// The unit of a login's first session runs before the session does, and bears its
// label. One that still waits ends with its broker, however that ends; the one that is
// used does not.
func TestE2EWarm(t *testing.T) {
	s := enabled(t, standin(t), nil)
	login := func() *loginclient.Client {
		c, err := loginclient.Login(t.Context(), loginclient.Config{MCPURL: PublicURL + "/mcp", Transport: s.Transport(), Browser: s.Browser("alice", nil)})
		must(t, err)
		return c
	}
	c := login()
	await(t, "its unit runs", func() bool { return len(units(t, s)) == 1 })
	first := units(t, s)[0]
	if out := run(t, s, "fjmcpctl", "sessions", "list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("sessions after the login: %s", out)
	}
	alice, err := c.Again(t.Context())
	must(t, err)
	useTools(t, alice, "alice")
	if now := units(t, s); len(now) != 1 || now[0] != first {
		t.Fatalf("the units are %+v, want %+v alone", now, first)
	}
	list := run(t, s, "fjmcpctl", "sessions", "list", "--json")
	fields, err := s.Property(t.Context(), first.Name, "LogExtraFields")
	must(t, err)
	_, label, _ := strings.Cut(fields, "FJMCP_SESSION=")
	label, _, _ = strings.Cut(label, " ")
	if label == "" || !strings.Contains(list, `"id":"`+label+`"`) || !strings.Contains(list, first.Name) {
		t.Errorf("the unit's fields are %q, the session is %s", fields, list)
	}
	for name, end := range map[string]func(*testing.T, *System){"restart": restart, "kill": kill} {
		login()
		await(t, "another unit waits", func() bool { return len(units(t, s)) == 2 })
		end(t, s)
		await(t, "it ends after "+name, func() bool { return len(units(t, s)) == 1 })
		stored(t, s, 1)
	}
	useTools(t, alice, "alice")
	if now := units(t, s); len(now) != 1 || now[0] != first {
		t.Errorf("the units are %+v, want %+v alone", now, first)
	}
}
