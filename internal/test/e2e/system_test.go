package e2e

import (
	"context"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/test/loginclient"
)

// Connect logs user in as a new client that knows only the MCP URL.
func (s *System) Connect(ctx context.Context, user string, steps func(string)) (*loginclient.Client, error) {
	return loginclient.Connect(ctx, loginclient.Config{
		MCPURL: PublicURL + "/mcp", Name: "e2e of " + user,
		Transport: s.transport, Browser: s.Browser(user, steps), Steps: steps,
	})
}

// Secrets returns the Forgejo tokens issued so far, and the client secret.
func (s *System) Secrets() []string { return append(s.Forge.Issued(), ClientSecret) }

// Unit is a running session unit.
type Unit struct {
	Name, UID, MainPID string
}

// Units lists the session units that run, by name.
func (s *System) Units(ctx context.Context) ([]Unit, error) {
	out, err := s.C.Run(ctx, "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "fjmcp-session@*.service")
	if err != nil {
		return nil, err
	}
	var units []Unit
	for line := range strings.Lines(out) {
		u := Unit{Name: strings.Fields(line)[0]}
		if u.MainPID, err = s.Property(ctx, u.Name, "MainPID"); err != nil {
			return nil, err
		}
		// Not the owner of /proc/pid: it is root for an undumpable process.
		if u.UID, err = s.C.Shell(ctx, "awk '/^Uid:/ {print $2}' /proc/"+u.MainPID+"/status"); err != nil {
			continue // it has ended meanwhile
		}
		u.UID = strings.TrimSpace(u.UID)
		units = append(units, u)
	}
	return units, nil
}
