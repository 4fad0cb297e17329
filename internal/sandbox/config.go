package sandbox

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

// Config is what the environment of fjmcp-session says.
type Config struct {
	Forge          *url.URL // public URL of the forge; http or https
	Backend        string   // absolute path of the forgejo-mcp binary
	CAFile         string   // further CA certificates for the forge; may be empty
	Egress         string   // unix socket that leads to the forge; empty: dial the forge
	Plaintext      bool     // the forge speaks no TLS at the end of Egress, whatever its URL says
	PrivateNetwork bool     // loopback belongs to this session alone
	Credentials    string   // directory that holds the file forgejo-token
	Policy         forgeapi.Policy
}

// ConfigFromEnv reads the FJMCP_SESSION_* variables and CREDENTIALS_DIRECTORY
// through getenv. Its error lists every fault, one a line.
func ConfigFromEnv(getenv func(string) string) (Config, error) {
	c := Config{
		Backend:        getenv("FJMCP_SESSION_FORGEJO_MCP"),
		CAFile:         getenv("FJMCP_SESSION_FORGEJO_CA_FILE"),
		Egress:         getenv("FJMCP_SESSION_EGRESS"),
		Plaintext:      getenv("FJMCP_SESSION_EGRESS_PLAINTEXT") == "1",
		PrivateNetwork: getenv("FJMCP_SESSION_PRIVATE_NETWORK") == "1",
		Credentials:    getenv("CREDENTIALS_DIRECTORY"),
	}
	var faults []error
	fault := func(format string, a ...any) { faults = append(faults, fmt.Errorf(format, a...)) }
	if !filepath.IsAbs(c.Backend) {
		fault("FJMCP_SESSION_FORGEJO_MCP: want the absolute path of the forgejo-mcp binary, got %q", c.Backend)
	}
	if c.Credentials == "" {
		fault("CREDENTIALS_DIRECTORY is not set: fjmcp-session is started by fjmcp-launcher, not by hand")
	}
	for name, path := range map[string]string{"FJMCP_SESSION_FORGEJO_CA_FILE": c.CAFile, "FJMCP_SESSION_EGRESS": c.Egress} {
		if path != "" && !filepath.IsAbs(path) {
			fault("%s: want an absolute path, got %q", name, path)
		}
	}
	var err error
	if c.Forge, err = forge.ParseURL(getenv("FJMCP_SESSION_FORGEJO_URL")); err != nil {
		fault("FJMCP_SESSION_FORGEJO_URL: %w", err)
	} else if err := c.checkLoopback(); err != nil {
		fault("FJMCP_SESSION_FORGEJO_URL: %w", err)
	}
	if c.Policy, err = forgeapi.ParsePolicy(getenv("FJMCP_SESSION_ROUTES")); err != nil {
		fault("FJMCP_SESSION_ROUTES: %w", err)
	}
	return c, errors.Join(faults...)
}

// checkLoopback: HTTP clients in Go never use a proxy for loopback hosts, so
// such a forge is reached through a listener on its own address, which only a
// private network leaves free.
func (c Config) checkLoopback() error {
	if !localhost.Literal(c.Forge.Hostname()) {
		return nil
	}
	port, _ := strconv.Atoi(c.Forge.Port())
	if c.PrivateNetwork && c.Egress != "" && port >= 1024 {
		return nil
	}
	return fmt.Errorf("a session cannot reach a forge at %s; use a name under .localhost, such as forgejo.localhost, which leads to the same address", c.Forge.Host)
}
