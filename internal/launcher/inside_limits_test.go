package launcher_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

// insideLimits: the kernel's part is to hold the limits, ours that they are there on what
// runs. Bytes and counts; "" for any limit at all, such as a share of the machine.
func insideLimits(t *testing.T) {
	s := start(t, "limits00", nil)
	for _, unit := range []struct {
		name   string
		limits map[string]string
	}{
		{unit(s.id), map[string]string{
			"MemoryMax": bytes(512 << 20), "MemorySwapMax": "0", "TasksMax": "128", "LimitNPROC": "128", "LimitNOFILE": "1024",
			"LimitDATA": bytes(1 << 30), "LimitCORE": "0", "OOMScoreAdjust": "500", "Nice": "5", "Slice": "fjmcp-sessions.slice",
		}},
		{"fjmcp-sessions.slice", map[string]string{"MemoryHigh": "", "MemoryMax": "", "TasksMax": "32768", "CPUWeight": "50", "IOWeight": "50"}},
		{"fjmcp-broker.service", map[string]string{"MemoryMax": bytes(1536 << 20), "TasksMax": "4096", "LimitCORE": "0", "LimitNOFILE": "65536"}},
		{"fjmcp-launcher.service", map[string]string{"MemoryMax": bytes(256 << 20), "TasksMax": "64", "LimitCORE": "0", "LimitNOFILE": "8192"}},
		{"fjmcp-egress.service", map[string]string{"MemoryMax": bytes(1 << 30), "TasksMax": "64", "LimitCORE": "0", "LimitNOFILE": "131072"}},
		{"fjmcp-unmount.service", map[string]string{"MemoryMax": bytes(256 << 20), "TasksMax": "64"}},
		{"fjmcp-apply.service", map[string]string{"MemoryMax": bytes(256 << 20), "TasksMax": "64"}},
	} {
		for property, want := range unit.limits {
			got := run(t, "systemctl", "show", "-P", property, unit.name)
			n, err := strconv.ParseUint(got, 10, 64)
			bound := err == nil && n < math.MaxUint64
			if want == "" && !bound || want != "" && got != want {
				t.Errorf("%s of %s is %q, want %q", property, unit.name, got, want)
			}
		}
	}
	// They stand in the unit's group, below that of all sessions.
	if group := run(t, "systemctl", "show", "-P", "ControlGroup", unit(s.id)); !strings.HasSuffix(group, "/fjmcp.slice/fjmcp-sessions.slice/"+unit(s.id)) {
		t.Errorf("the session's group is %s", group)
	}
}

func bytes(n uint64) string { return strconv.FormatUint(n, 10) }
