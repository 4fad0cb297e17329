package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/health"
)

// The status of a broker without systemd does not send its operator there.
func TestStatusWithoutSystemd(t *testing.T) {
	for kind, told := range map[string]bool{"systemd": true, "process": false} {
		s := admin.Status{Health: admin.Degraded, Launcher: admin.LauncherStatus{Kind: kind},
			Checks: []health.Result{{Name: "forge", State: health.Failing, Fault: health.ForgeURLWrong, Cause: "it is another"}}}
		cure(s)
		var out bytes.Buffer
		printStatus(&out, s)
		text := out.String()
		if strings.Contains(text, "systemctl") != told || strings.Contains(text, "journalctl") != told || strings.Contains(text, "start the broker anew") == told {
			t.Errorf("%s:\n%s", kind, text)
		}
	}
}
