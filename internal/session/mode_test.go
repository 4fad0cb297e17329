package session_test

import (
	"strings"
	"testing"
)

// A call that stands in line does not keep a broader token from raising the mode.
func TestRaisingDoesNotWaitForTheLine(t *testing.T) {
	w := start(t, "held")
	s, _, err := w.Create(t.Context(), w.reader(), message(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
	w.must(err)
	first := w.units()[0]
	release := s.HoldGate()
	begun := make(chan error)
	go func() {
		_, err := s.Call(t.Context(), w.access, message(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`))
		begun <- err
	}()
	w.until("the unit is stopped", func() bool { return len(w.units()) == 0 })
	release() // its turn has come, where none is before it
	w.must(<-begun)
	if s.ReadOnly() {
		t.Error("the session is still read-only")
	}
	if all := w.units(); len(all) != 1 || all[0] == first {
		t.Errorf("units %q", all)
	}
}

// A unit that dies after it has confirmed its mode, and before that is recorded, is not
// recorded as the session's.
func TestModeOfAUnitThatDied(t *testing.T) {
	w := start(t, "standin")
	s := w.begin(w.reader())
	confirm := s.Confirmation()
	w.must(w.store.SetSessionMode(t.Context(), s.ID(), false))
	w.must(w.cfg.Launcher.Stop(t.Context(), w.units()[0]))
	w.until("its end is recorded", func() bool { return strings.Contains(w.log.String(), "session_reaped") })
	w.must(confirm(t.Context()))
	row, err := w.store.Session(t.Context(), s.ID())
	w.must(err)
	if row.UnitID != "" || row.ReadOnly {
		t.Errorf("the session is in unit %q, read-only %v", row.UnitID, row.ReadOnly)
	}
	w.works(s, w.access)
}
