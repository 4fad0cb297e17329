package launcher

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/launcher/backend"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forge"
	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// Environment variables taken from the broker's configuration.
const (
	envForgejoURL = "FJMCP_BROKER_FORGEJO_URL"
	envCAFile     = "FJMCP_BROKER_FORGEJO_CA_FILE"

	envForgejoSocket = "FJMCP_BROKER_FORGEJO_SOCKET"
	envForgejoUser   = "FJMCP_BROKER_FORGEJO_USER"

	envIdle             = "FJMCP_BROKER_SESSION_IDLE_TIMEOUT"
	envStartTimeout     = "FJMCP_BROKER_START_TIMEOUT"
	defaultStartTimeout = 30 * time.Second
)

// Where a session sees the operator's files that do not lie under /usr. /run is
// a tmpfs of the session's own, so the mount points need no place on disk.
const (
	insideForgejoMCP = "/run/fjmcp-session/forgejo-mcp"
	insideCAFile     = "/run/fjmcp-session/forge-ca.pem"
)

const restartHint = "in /etc/fjmcp/broker.env and run systemctl restart fjmcp-broker"

// settings is the operator's part of a session: as configured, unchecked.
type settings struct {
	forgejoURL, caFile, forgejoMCP, routes string
	forgejoSocket, forgejoUser             string
	startTimeout                           time.Duration // the broker has checked it
}

func newSettings(getenv func(string) string) settings {
	limit, err := time.ParseDuration(getenv(envStartTimeout))
	if err != nil || limit < launchproto.LeastStartTimeout || limit > launchproto.MostStartTimeout {
		limit = defaultStartTimeout
	}
	return settings{getenv(envForgejoURL), getenv(envCAFile), getenv(backend.Variable), getenv(forgeapi.Variable),
		getenv(envForgejoSocket), getenv(envForgejoUser), limit}
}

// bind shows the file at source to the session as target, read-only.
type bind struct{ source, target string }

// view is what a session's environment says of the forge, with the mounts that
// make it true.
type view struct {
	url, forgejoMCP, caFile string // as the session sees them
	routes                  string // as forgeapi.ParsePolicy takes them
	plain                   bool   // the way to the forge bears no TLS
	binds                   []bind
	startTimeout            time.Duration
}

// resolve looks at the disk anew for each start, so that installing a missing
// file is all the cure it takes. Its errors are for the operator.
func (s settings) resolve() (view, error) {
	u, err := parseForgejoURL(s.forgejoURL)
	if err != nil {
		return view{}, err
	}
	policy, err := forgeapi.ParsePolicy(s.routes)
	if err != nil {
		return view{}, fmt.Errorf("%s=%q: %w; correct it %s", forgeapi.Variable, s.routes, err, restartHint)
	}
	f := view{url: u.String(), routes: policy.String(), plain: s.forgejoSocket != "", startTimeout: s.startTimeout}
	mcp, err := backend.Find(s.forgejoMCP)
	if err != nil {
		return view{}, fmt.Errorf("%w %s", err, restartHint)
	}
	f.forgejoMCP = f.show(mcp, insideForgejoMCP)
	if s.caFile == "" {
		return f, nil
	}
	ca, err := backend.File(s.caFile)
	if err != nil {
		return view{}, fmt.Errorf("%s=%q: %w; correct it %s", envCAFile, s.caFile, err, restartHint)
	}
	f.caFile = f.show(ca, insideCAFile)
	return f, nil
}

// made tells one state of forgejo-mcp and the sandbox from another. What cannot be read is
// for the start to tell.
func (s settings) made(unitDirs []string) string {
	mcp, _ := backend.Find(s.forgejoMCP)
	sandbox, _ := sandboxDigest(unitDirs)
	return backend.Stamp(mcp) + " " + sandbox
}

// show returns the path by which the session sees path: /usr it sees whole.
func (f *view) show(path, inside string) string {
	if strings.HasPrefix(path, "/usr/") {
		return path
	}
	f.binds = append(f.binds, bind{path, inside})
	return inside
}

func parseForgejoURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, fmt.Errorf("%s is missing; set the public URL of the forge %s", envForgejoURL, restartHint)
	}
	u, err := forge.ParseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; correct it %s", envForgejoURL, err, restartHint)
	}
	return u, nil
}
