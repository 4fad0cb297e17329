package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/setup"
)

const (
	etc         = "/etc/fjmcp"
	envFile     = etc + "/broker.env"
	credentials = etc + "/credentials"
	stateDir    = "/var/lib/fjmcp"
)

// settings loads what the broker would at its next start. With systemd that is its
// environment file and what drop-ins of its unit set.
func (d *Doctor) settings(ctx context.Context, f *Finding) {
	environ := d.Environ
	var opened map[string]config.Credential
	if d.systemd {
		if d.unreadable(f, credentials) {
			return
		}
		text, err := os.ReadFile(d.path(envFile))
		if err != nil {
			f.fail(err.Error(), "write it as fjmcp-broker.env(5) says")
			return
		}
		unit, _ := d.Command(ctx, "systemctl", "cat", "fjmcp-broker.service")
		d.sealed = setup.SealedIn(unit)
		opened, err = d.sealed.Open(ctx, func(ctx context.Context, _ string, argv ...string) (string, error) { return d.Command(ctx, argv...) }, d.Root)
		switch {
		case errors.Is(err, setup.ErrElsewhere):
			f.skip(err.Error())
			return
		case err != nil:
			f.fail(err.Error(), "put back the file from your backup, or encrypt the credential anew: systemd-creds encrypt; then systemctl restart fjmcp-broker.service")
			return
		}
		environ = append(setup.BrokerEnvironment(unit, string(text)), "CREDENTIALS_DIRECTORY="+d.path(credentials), "STATE_DIRECTORY="+d.path(stateDir))
	}
	cfg, err := config.LoadWith(environ, opened)
	var faults *config.Error
	if !errors.As(err, &faults) {
		d.cfg, f.Detail = cfg, map[bool]string{true: envFile, false: "of this environment"}[d.systemd]
		return
	}
	for _, fault := range faults.Faults {
		f.fail(fault, d.after())
	}
}

// after is what has the broker take what was mended.
func (d *Doctor) after() string {
	if d.systemd {
		return "mend it in " + etc + ", then systemctl restart fjmcp-broker.service"
	}
	return "set it for the broker's process, and start that anew"
}

// unreadable reports whether the finding cannot be made without being root.
func (d *Doctor) unreadable(f *Finding, path string) bool {
	_, err := os.ReadDir(d.path(path))
	if errors.Is(err, os.ErrPermission) {
		f.skip("run fjmcpctl doctor as root")
		return true
	}
	return false
}

// program looks for forgejo-mcp where no broker tells whether it starts.
func (d *Doctor) program(_ context.Context, f *Finding) {
	paths := []string{"/usr/bin/forgejo-mcp", "/usr/local/bin/forgejo-mcp"}
	if d.cfg != nil && d.cfg.ForgejoMCP != "" {
		paths = []string{d.cfg.ForgejoMCP}
	}
	for _, path := range paths {
		info, err := os.Stat(d.path(path))
		switch {
		case err != nil:
			continue
		case !info.Mode().IsRegular() || info.Mode()&0o111 != 0o111:
			f.fail(path+" cannot be executed by everybody: it has mode "+info.Mode().String(), "chmod 0755 "+filepath.Clean(path))
		default:
			f.Detail = path
		}
		return
	}
	f.fail("there is no "+strings.Join(paths, " and no "), "install -m 0755 forgejo-mcp "+paths[len(paths)-1])
}
