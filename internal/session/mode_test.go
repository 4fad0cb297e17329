package session_test

import "testing"

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
