package session_test

import (
	"strings"
	"testing"
)

// However a unit ends, its backend sees the end of its input, although the descriptor
// store has a copy of it.
func TestBackendsSeeTheEndOfTheirInput(t *testing.T) {
	w, _ := lasting(t, "standin")
	ended := func(n int) {
		t.Helper()
		w.until("the backend has ended", func() bool { return len(w.units()) == 0 })
		if got := strings.Count(w.log.String(), "its input has ended"); got != n {
			t.Errorf("%d backends have seen the end of their input, want %d", got, n)
		}
	}
	s := w.begin(w.access)
	w.must(w.cfg.Launcher.Stop(t.Context(), w.units()[0])) // as the reap timer does
	ended(1)
	w.works(s, w.access)
	w.must(w.End(t.Context(), s))
	ended(2)
	if strings.Contains(w.log.String(), "session_failed") {
		t.Error("an end was taken for a failure")
	}
}
