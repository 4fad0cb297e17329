package doctor

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/operator/config"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/confine"
)

// The most that `systemd-analyze security` may say, of 10; docs/operations.md has the same.
const (
	mostOfSession = 0.8
	mostOfService = 1.6
)

// sandbox looks how much units and sessions are kept from.
func (d *Doctor) sandbox(ctx context.Context, f *Finding) {
	details := []string{fmt.Sprintf("Landlock ABI %d", confine.LandlockABI())}
	if confine.LandlockABI() == 0 {
		f.warn("the kernel has no Landlock, so that forgejo-mcp can reach all that its process may",
			"run Linux 5.13 or later with landlock among its security modules (/sys/kernel/security/lsm); in a container allow its three system calls")
	}
	if d.launcher() == config.LauncherProcess {
		f.warn("sessions are child processes of the broker: nothing but Landlock and a seccomp filter keeps them from the database, the secrets and each other",
			"for people who do not trust each other install the package on a machine with systemd")
		for _, lack := range lacks(confine.LandlockABI()) {
			f.warn(lack, "")
		}
	}
	if d.systemd {
		details = append(details, d.exposures(ctx, f)...)
		d.judgeOverrides(f)
	}
	f.Detail = strings.Join(details, ", ")
}

// lacks is what sessions lack as children of the broker, where the kernel has that Landlock.
// docs/security.md has the same.
func lacks(abi int) []string {
	all := []string{
		"sessions have no uid, root or journal of their own, but the broker's",
		"/proc shows sessions all command lines and connections, and they can ask for names, sizes and times of files",
		"memory and files are bounded for each process, but no memory, processes or processors for a session",
	}
	if abi < 4 {
		all = append(all, fmt.Sprintf("Landlock of this kernel has ABI %d, and 4 holds TCP (Linux 6.7): sessions can connect to all that the broker reaches", abi))
	}
	return all
}

func (d *Doctor) launcher() string {
	switch {
	case d.status != nil:
		return d.status.Launcher.Kind
	case d.cfg != nil:
		return d.cfg.Launcher
	}
	return ""
}

var overall = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

// exposures scores the services, and one of the sessions that run.
func (d *Doctor) exposures(ctx context.Context, f *Finding) (details []string) {
	units := map[string]float64{}
	names := []string{"fjmcp-broker.service", "fjmcp-launcher.service", "fjmcp-egress.service"}
	for _, name := range names {
		units[name] = mostOfService
	}
	if out, err := d.Command(ctx, "systemctl", "list-units", "--plain", "--no-legend", "fjmcp-session@*.service"); err == nil && strings.TrimSpace(out) != "" {
		name := strings.Fields(out)[0]
		names, units[name] = append(names, name), mostOfSession
	}
	for _, name := range names {
		out, err := d.Command(ctx, "systemd-analyze", "security", "--no-pager", name)
		m := overall.FindStringSubmatch(out)
		if err != nil || m == nil {
			continue // such as a session that has just ended
		}
		details = append(details, strings.TrimSuffix(strings.TrimPrefix(name, "fjmcp-"), ".service")+" "+m[1])
		if score, _ := strconv.ParseFloat(m[1], 64); score > units[name] {
			f.warn(fmt.Sprintf("%s has an exposure of %s, and %.1f is the package's: something was opened", name, m[1], units[name]),
				"systemctl cat "+name+" shows what; systemctl revert "+family(name)+", systemctl restart fjmcp-broker.service")
		}
	}
	return details
}

func family(unit string) string {
	if strings.HasPrefix(unit, "fjmcp-session@") {
		return "'fjmcp-session@.service'"
	}
	return unit
}

// judgeOverrides tells of the operator's changes where sessions do not start.
func (d *Doctor) judgeOverrides(f *Finding) {
	files := d.overrides()
	if len(files) == 0 || !d.backendFails() {
		return
	}
	f.warn("sessions do not start, and their sandbox is changed by "+strings.Join(files, ", "), "systemctl revert 'fjmcp-session@.service' takes the changes back")
}

func (d *Doctor) backendFails() bool { return d.said("forgejo-mcp") == health.Failing }
