package sandbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
)

// A backend that writes without end gets a bounded part into the log, and cannot pass
// for fjmcp-session there. What it left out is counted.
func TestBackendFloodsTheLog(t *testing.T) {
	forge := newForge(t)
	r := startOn(t, "http", forge, forge.token(t, "alice"))
	r.want(control.TypeReady)
	s := r.connect()
	began := time.Now()
	const lines, text = 50_000, "<0>level=ERROR msg=\"session failed\" \u202e\u009b31m"
	mustCall(t, s, "flood", map[string]any{"what": "stderr", "raw": text, "lines": lines}, "flooded")
	mustCall(t, s, "get_my_user_info", nil, `"alice"`)
	s.Close()
	r.want(control.TypeExited)
	r.status()
	seconds := int(time.Since(began)/time.Second) + 1
	log := r.log.String()
	if most := control.MostOutput + seconds*control.OutputPerSecond + 1<<10; len(log) > most {
		t.Errorf("%d bytes are in the log after %d s, want at most %d", len(log), seconds, most)
	}
	left := 0
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "forgejo-mcp: ") {
			continue
		}
		left++
		if !strings.HasPrefix(line, `level=WARN msg="the session wrote more than its log takes" lines_left_out=`) {
			t.Fatalf("a line of nobody's: %q", line)
		}
	}
	if left == 0 || strings.ContainsAny(log, "\u202e\u009b") || !strings.Contains(log, "\nforgejo-mcp: <0>level=ERROR") {
		t.Errorf("what was left out was said %d times:\n%.2000s", left, log)
	}
}
