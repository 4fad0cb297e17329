package doctor

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

const (
	mainSocket    = "fjmcp-broker.socket"
	portSocket    = "fjmcp-tcp.socket"
	metricsSocket = "fjmcp-metrics.socket" // off as delivered
	noSystemd     = "there is no systemd here"
)

// parts are the units that an installed system has besides the main socket and the port's.
var parts = []string{
	"fjmcp-admin.socket", "fjmcp-credentials.socket", "fjmcp-launcher.socket", "fjmcp-egress.socket",
	"fjmcp-broker.service", "fjmcp-launcher.service", "fjmcp-egress.service", "fjmcp-apply.service",
}

// show returns properties of units, by their names.
func (d *Doctor) show(ctx context.Context, properties string, units ...string) (map[string]map[string]string, error) {
	out, err := d.Command(ctx, append([]string{"systemctl", "show", "--property=Id," + properties, "--"}, units...)...)
	if err != nil {
		return nil, fmt.Errorf("systemctl does not answer: %w", err)
	}
	all := map[string]map[string]string{}
	for block := range strings.SplitSeq(out, "\n\n") {
		of := map[string]string{}
		for line := range strings.Lines(block) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			of[name] = value
		}
		all[of["Id"]] = of
	}
	return all, nil
}

// units looks whether those of the package are there, in order, and listen.
func (d *Doctor) units(ctx context.Context, f *Finding) {
	if !d.systemd {
		f.skip(noSystemd)
		return
	}
	all, err := d.show(ctx, "LoadState,ActiveState,UnitFileState,NeedDaemonReload", append([]string{mainSocket, portSocket, metricsSocket}, parts...)...)
	if err != nil {
		f.fail(err.Error(), "systemctl status")
		return
	}
	listens := mainUnit(f, all[mainSocket])
	if port := all[portSocket]; listens && port["LoadState"] != "masked" && port["ActiveState"] != "active" {
		f.warn(portSocket+" is "+port["ActiveState"]+": the broker has no port, only /run/fjmcp/http.sock; perhaps another program has it",
			"ss -ltnp shows who listens; end it, or systemctl mask --now "+portSocket+" to do without; then systemctl restart fjmcp-broker.service")
	}
	if m := all[metricsSocket]; listens && m["UnitFileState"] == "enabled" && m["ActiveState"] != "active" {
		f.warn(metricsSocket+" is enabled and "+m["ActiveState"]+": there are no metrics; it was enabled while the broker ran, or another program has its port",
			"systemctl restart fjmcp-broker.service; ss -ltnp shows who listens")
	}
	for _, name := range parts {
		part(f, name, all[name], listens)
	}
	for _, name := range append([]string{mainSocket, portSocket, metricsSocket}, parts...) {
		if all[name]["NeedDaemonReload"] == "yes" {
			f.warn("the files of "+name+" have changed since systemd read them", "systemctl daemon-reload, systemctl restart "+name)
		}
	}
	d.template(f)
	f.Detail = fmt.Sprintf("%d units are in order", len(parts)+2)
}

func mainUnit(f *Finding, is map[string]string) (listens bool) {
	switch {
	case is["LoadState"] == "masked":
		f.fail(mainSocket+" is masked", "systemctl unmask "+mainSocket+", systemctl enable --now "+mainSocket)
	case is["LoadState"] != "loaded":
		f.fail("systemd does not know "+mainSocket, "apt install --reinstall fjmcp-broker, or systemctl daemon-reload")
	case is["ActiveState"] == "failed":
		f.fail(mainSocket+" has failed", "systemctl status "+mainSocket+" says why; then systemctl restart "+mainSocket)
	case is["ActiveState"] != "active":
		f.fail(mainSocket+" is stopped: nobody listens", "systemctl enable --now "+mainSocket)
	case is["UnitFileState"] != "enabled":
		f.warn(mainSocket+" does not start with the machine", "systemctl enable "+mainSocket)
	}
	return is["ActiveState"] == "active"
}

// part looks at a unit that comes and goes with the main socket.
func part(f *Finding, name string, is map[string]string, listens bool) {
	switch {
	case is["LoadState"] == "masked":
		f.fail(name+" is masked", "systemctl unmask "+name+", systemctl restart fjmcp-broker.service")
	case is["LoadState"] != "loaded":
		f.fail("systemd does not know "+name, "apt install --reinstall fjmcp-broker, or systemctl daemon-reload")
	case is["ActiveState"] == "failed":
		f.fail(name+" has failed", "journalctl -u "+name+" -n 20 says why; then systemctl restart "+name)
	case listens && strings.HasSuffix(name, ".socket") && is["ActiveState"] != "active":
		f.fail(name+" is stopped", "systemctl restart "+mainSocket)
	}
}

// unitDirs are where files of units lie, those of the operator first.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// template looks for a file of the sessions' unit, which is made anew for each.
func (d *Doctor) template(f *Finding) {
	for _, dir := range unitDirs {
		if file := filepath.Join(dir, "fjmcp-session@.service"); d.exists(file) {
			f.fail(file+": with a file of that name systemd refuses every session", "rm "+file+", systemctl daemon-reload")
			return
		}
	}
}

// overrides are the operator's changes of the sessions' sandbox.
func (d *Doctor) overrides() (files []string) {
	for _, dir := range unitDirs[:3] {
		found, _ := filepath.Glob(d.path(filepath.Join(dir, "fjmcp-session@.service.d/*.conf")))
		for _, file := range found {
			files = append(files, filepath.Join(dir, "fjmcp-session@.service.d", filepath.Base(file)))
		}
	}
	return files
}

// limits compares what is configured with what units allow for.
func (d *Doctor) limits(ctx context.Context, f *Finding) {
	most := 0
	switch {
	case d.cfg != nil:
		most = d.cfg.SessionsMax
	case d.status != nil:
		most = d.status.Sessions.Max
	default:
		f.skip("the settings cannot be read")
		return
	}
	if !d.systemd {
		d.groupLimits(f, most)
		return
	}
	all, err := d.show(ctx, "TasksMax,LimitNOFILE,FileDescriptorStoreMax", "fjmcp-sessions.slice", "fjmcp-launcher.service", "fjmcp-broker.service")
	if err != nil {
		f.fail(err.Error(), "systemctl status")
		return
	}
	for _, l := range []struct {
		unit, directive string
		want            uint64
	}{
		{"fjmcp-sessions.slice", "TasksMax", launchproto.TasksFor(most)},
		{"fjmcp-launcher.service", "LimitNOFILE", launchproto.FilesFor(most)},
		{"fjmcp-broker.service", "FileDescriptorStoreMax", 3 * uint64(most)},
	} {
		is, err := strconv.ParseUint(all[l.unit][l.directive], 10, 64) // else it is infinity
		if err == nil && is < l.want {
			f.fail(fmt.Sprintf("FJMCP_BROKER_SESSIONS_MAX=%d is more than %s=%d of %s allows for", most, l.directive, is, l.unit),
				fmt.Sprintf("lower the number, or systemctl edit %s, %s=%d; then systemctl restart fjmcp-broker.service", l.unit, l.directive, l.want))
		}
	}
	f.Detail = fmt.Sprintf("%d sessions fit", most)
}

// journal looks whether journald takes what is written, and keeps it.
func (d *Doctor) journal(ctx context.Context, f *Finding) {
	if !d.systemd {
		f.skip(noSystemd + ": events go to the broker's standard error")
		return
	}
	const journald = "systemd-journald.service"
	all, err := d.show(ctx, "LoadState,ActiveState", journald, "systemd-journald@fjmcp.socket")
	if err != nil {
		f.fail(err.Error(), "systemctl status")
		return
	}
	if is := all[journald]["ActiveState"]; is != "active" {
		f.warn(journald+" is "+is+": events cannot be written", "systemctl start "+journald+"; journalctl -u "+journald+" -n 20 says why it ended")
	}
	if all["systemd-journald@fjmcp.socket"]["LoadState"] == "masked" {
		f.warn("the journal of sessions is masked", "systemctl unmask systemd-journald@fjmcp.socket, systemctl restart "+mainSocket)
	}
	if f.Detail = "kept on disk"; !d.exists("/var/log/journal") {
		f.Detail = "kept in memory: the audit trail ends with the machine; mkdir /var/log/journal, systemctl restart " + journald + " keeps it"
	}
}
