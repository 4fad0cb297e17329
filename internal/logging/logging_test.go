package logging

import (
	"bytes"
	"strings"
	"testing"
)

func TestJournalLinesCarryTheirPriority(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "8:1")
	var out bytes.Buffer
	log := New(&out)
	log.With("unit", "u").Error("broken", "n", 1)
	log.WithGroup("g").Info("fine", "n", 2)
	want := "<3>msg=broken unit=u n=1\n<6>msg=fine g.n=2\n"
	if out.String() != want {
		t.Fatalf("got %q, want %q", out.String(), want)
	}
}

func TestElsewhereLinesCarryTheTime(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	var out bytes.Buffer
	New(&out).Warn("odd")
	if !strings.HasPrefix(out.String(), "time=") || !strings.Contains(out.String(), "level=WARN") {
		t.Fatalf("got %q", out.String())
	}
}
