package podman

import (
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/doctor"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/confine"
)

// wayOut is the check of which nothing is wanted: the tests' network has no way to other
// machines.
const wayOut = "client-documents"

// checkDoctor wants the doctor to look at all it can in the container, to name what
// isolation is missing, and to advise nothing that only systemd could do.
func (h *host) checkDoctor() {
	h.t.Helper()
	r := h.examine(nil, 0, "--socket", "/data/admin.sock")
	var names, skipped []string
	for _, f := range r.Findings {
		names = append(names, f.Name)
		switch {
		case f.Name == wayOut:
		case f.Name == "limits" && f.State == doctor.Skipped: // where the tests' containers have no control group of their own
		case f.State == doctor.Skipped:
			skipped = append(skipped, f.Name)
		case f.Name != "sandbox" && f.State != health.OK:
			h.t.Errorf("%s is %s: %+v", f.Name, f.State, f.Problems)
		}
	}
	if want := strings.Fields("broker store store-key launcher audit policy forgejo-mcp forge oauth-application public-url " + wayOut +
		" settings units limits permissions disk journal sandbox redirect-uri users policy-file clock proxy"); r.Health != doctor.Well || !slices.Equal(names, want) {
		h.t.Errorf("it is %s, and looked at are %q", r.Health, names)
	}
	if want := strings.Fields("units permissions journal"); !slices.Equal(skipped, want) {
		h.t.Errorf("skipped are %q", skipped)
	}
	h.checkLacks(r)

	if r := h.examine(nil, 3); r.Health != admin.NotRunning || !says(r, "broker", "start the broker, and give --socket") {
		h.t.Errorf("without --socket: %+v", r)
	}
	const setting = "FJMCP_BROKER_PUBLIC_URL"
	if r := h.examine([]string{"--env", setting + "=no URL"}, 1, "--socket", "/data/admin.sock"); r.Health != doctor.Failing || !says(r, "settings", setting) {
		h.t.Errorf("with a wrong setting: %+v", r)
	}
	if out, _ := exec.Command("podman", "logs", container).CombinedOutput(); strings.Contains(string(out), "is not believed") {
		h.t.Errorf("the doctor was taken for a proxy:\n%s", out)
	}
}

// checkLacks wants everything named that docs/deploy-podman.md says this form lacks, as
// far as it bears on sessions.
func (h *host) checkLacks(r doctor.Report) {
	h.t.Helper()
	for _, lack := range []string{"nothing but Landlock", "no uid, root or journal of their own", "command lines and connections", "no memory, processes or processors for a session"} {
		if !says(r, "sandbox", lack) {
			h.t.Errorf("the doctor does not say %q: %+v", lack, r)
		}
	}
	if open := confine.LandlockABI() < 4; says(r, "sandbox", "can connect to all that the broker reaches") != open {
		h.t.Errorf("this kernel's Landlock has ABI %d: %+v", confine.LandlockABI(), r)
	}
}

// says reports whether a finding has a problem with that in cause or cure.
func says(r doctor.Report, of, text string) bool {
	for _, f := range r.Findings {
		for _, p := range f.Problems {
			if f.Name == of && (strings.Contains(p.Cause, text) || strings.Contains(p.Cure, text)) {
				return true
			}
		}
	}
	return false
}

// examine runs the doctor in the container, with flags of podman exec. It must end with that
// status.
func (h *host) examine(flags []string, status int, args ...string) (r doctor.Report) {
	h.t.Helper()
	command := slices.Concat([]string{"exec"}, flags, []string{container, "/usr/bin/fjmcpctl"}, args, []string{"doctor", "--json"})
	out, err := exec.Command("podman", command...).Output()
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	h.must(err)
	if code != status {
		h.t.Errorf("%q: status %d, want %d", command, code, status)
	}
	h.must(json.Unmarshal(out, &r))
	for _, word := range append(h.forgeTokens(), h.app.ClientSecret, "systemctl", "journalctl", "/etc/fjmcp", "/var/lib/fjmcp") {
		if strings.Contains(string(out), word) {
			h.t.Errorf("it says %q:\n%s", word, out)
		}
	}
	return r
}
