package logging

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// stream makes a file, and what $JOURNAL_STREAM says of one.
func stream(t *testing.T) (f *os.File, name string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return f, fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

func TestJournalLinesCarryTheirPriority(t *testing.T) {
	f, name := stream(t)
	if t.Setenv("JOURNAL_STREAM", name); !toJournal(f) {
		t.Error("the journal is not known")
	}
	log := Untimed(prefixer{f})
	log.With("unit", "u").Error("broken", "n", 1)
	log.WithGroup("g").Info("fine", "n", 2)
	got, err := os.ReadFile(f.Name())
	if want := "<3>msg=broken unit=u n=1\n<6>msg=fine g.n=2\n"; string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// The journal is where $JOURNAL_STREAM says it is, not wherever a process goes that
// has the variable from its parent.
func TestJournalIsWhereItIsSaidToBe(t *testing.T) {
	f, own := stream(t)
	_, other := stream(t)
	closed, of := stream(t)
	closed.Close()
	for _, name := range []string{"", other, "8:1", ":", "1", strings.Replace(own, ":", "0:", 1), own + "0", " " + own} {
		t.Setenv("JOURNAL_STREAM", name)
		if toJournal(f) {
			t.Errorf("%q is taken for %q", own, name)
		}
	}
	if t.Setenv("JOURNAL_STREAM", of); toJournal(closed) {
		t.Error("a closed file is taken for the journal")
	}
}
