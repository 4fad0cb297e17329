package journal

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 12, 1, 0, 30, 15, 0, zone) // the day before in UTC
	for text, want := range map[string]string{
		"now": "2026-12-01 00:30:15", "today": "2026-12-01 00:00:00", "yesterday": "2026-11-30 00:00:00", "tomorrow": "2026-12-02 00:00:00",
		"2026-11-30": "2026-11-30 00:00:00", "2026-11-30 08:15": "2026-11-30 08:15:00", " 2026-11-30 08:15:02.5 ": "2026-11-30 08:15:02.5",
		"2026-07-30 08:15 UTC": "2026-07-30 09:15:00", "2026-11-30T08:15:00Z": "2026-11-30 09:15:00", "2026-11-30T08:15:00+01:00": "2026-11-30 08:15:00", "2026-11-30T08:15:00": "2026-11-30 08:15:00",
		"08:15": "2026-12-01 08:15:00", "08:15:07": "2026-12-01 08:15:07", "23:15 UTC": "2026-12-01 00:15:00",
		"-7d": "2026-11-24 00:30:15", "-1h30min": "2026-11-30 23:00:15", "2 hours ago": "2026-11-30 22:30:15", "1 day 30 min ago": "2026-11-30 00:00:15", "-90": "2026-12-01 00:28:45",
		"+1.5h": "2026-12-01 02:00:15", "-1M": "2026-10-31 14:00:15", "-1y": "2025-11-30 18:30:15", "@1764500000": "2025-11-30 11:53:20", "@0.5": "1970-01-01 01:00:00.5",
	} {
		got, err := ParseTime(text, now)
		if at := got.In(zone).Format("2006-01-02 15:04:05.999"); err != nil || at != want {
			t.Errorf("%q is %s, %v; want %s", text, at, err, want)
		}
	}
	for _, text := range []string{"", "soon", "7d", "-", "+", " ago", "-7x", "-7d junk", "d ago", "2026-13-01", "25:00", "@", "@x", "@-1", "@1e99", "@NaN", "-999999999999y", "2026-11-30 08:15 CET", "\n", "--root=/x"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// journalctl's users mean by a time what systemd means.
func TestTimesAreSystemds(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip(err)
	}
	for _, text := range []string{"2026-11-30", "2026-11-30 08:15", "2026-11-30 08:15:02", "2026-11-30 08:15 UTC", "@1764500000"} {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "timestamp", text).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got, err := ParseTime(text, time.Now())
		if err != nil || !strings.Contains(string(out), "UNIX seconds: "+stamp(got)+"\n") {
			t.Errorf("%q is %s (%s), %v, and for systemd\n%s", text, got, stamp(got), err, out)
		}
	}
	for unit, d := range units {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "timespan", "3"+unit).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got, ok := span("3" + unit); !ok || got != 3*d || !strings.Contains(string(out), fmt.Sprintf("μs: %d\n", got.Microseconds())) {
			t.Errorf("3%s is %s, and for systemd\n%s", unit, got, out)
		}
	}
}
