package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/doctor"
	"github.com/fjmcp/fjmcp-broker/internal/test/nspawn"
)

// TestE2EDoctor: of a system that is in order nothing is said but what its container lacks,
// and nothing changes; what the broker cannot see of its host is named.
func TestE2EDoctor(t *testing.T) {
	s := install(t, standin(t))
	must(t, s.Configure(map[string]string{"FJMCP_BROKER_CLIENT_METADATA_DOCUMENTS": "off"}))
	must(t, s.Enable(t.Context()))
	useTools(t, connect(t, s, "alice"), "alice")
	before := run(t, s, "sh", "-c", "find /etc/fjmcp /etc/systemd -printf '%p %m %u %T@\\n'; systemctl list-unit-files 'fjmcp*'")
	r := examine(t, s, doctor.Well)
	for _, f := range r.Findings {
		if f.State != "ok" {
			t.Errorf("%s is %s: %s %+v", f.Name, f.State, f.Detail, f.Problems)
		}
	}
	if after := run(t, s, "sh", "-c", "find /etc/fjmcp /etc/systemd -printf '%p %m %u %T@\\n'; systemctl list-unit-files 'fjmcp*'"); after != before {
		t.Errorf("it changed\n%s\nto\n%s", before, after)
	}
	for _, c := range []struct{ begin, end, of, cause string }{
		{"chmod 0644 " + secretFile, "chmod 0600 " + secretFile, "permissions", "which opens it to others"},
		{"systemctl disable fjmcp-broker.socket", "systemctl enable fjmcp-broker.socket", "units", "does not start with the machine"},
		{"systemctl set-property --runtime fjmcp-sessions.slice TasksMax=64", "systemctl revert fjmcp-sessions.slice", "limits", "TasksMax=64"},
	} {
		run(t, s, "sh", "-c", c.begin)
		if r := examine(t, s, ""); !names(r, c.of, c.cause) {
			t.Errorf("after %s: %+v", c.begin, r)
		}
		run(t, s, "sh", "-c", c.end)
	}
	examine(t, s, doctor.Well)
	// What cannot be read is skipped.
	out := run(t, s, "sh", "-c", "setpriv --reuid=nobody --regid=fjmcp --clear-groups fjmcpctl doctor; test $? = 0")
	if !strings.Contains(out, "run fjmcpctl doctor as root") {
		t.Errorf("got %s", out)
	}
}

func names(r doctor.Report, of, cause string) bool {
	for _, f := range r.Findings {
		for _, p := range f.Problems {
			if f.Name == of && strings.Contains(p.Cause, cause) {
				return true
			}
		}
	}
	return false
}

// examine wants that word of health, "" for any.
func examine(t *testing.T, s *System, want string) (r doctor.Report) {
	t.Helper()
	out, err := s.C.Exec(t.Context(), nspawn.Cmd{Argv: []string{"fjmcpctl", "doctor", "--json"}})
	must(t, err)
	if err := json.Unmarshal([]byte(out.Stdout), &r); err != nil || want != "" && r.Health != want || (r.Health == doctor.Well) != (out.Code == 0) {
		t.Errorf("%v, exit status %d: %s%s", err, out.Code, out.Stdout, out.Stderr)
	}
	return r
}
