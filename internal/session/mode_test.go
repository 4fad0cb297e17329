package session_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/model"
	"github.com/fjmcp/fjmcp-broker/internal/session"
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

// What began a session to read only, or not, is wanted of each request in it, also after the
// process has ended. Others' requests learn nothing by it.
func TestViewOfASessionStays(t *testing.T) {
	w := start(t, "standin")
	reads, writes, narrow := w.begin(w.reading()), w.begin(w.access), w.begin(w.reader())
	stranger := w.reading()
	stranger.User.ID = "somebody else"
	for range 2 {
		for _, tt := range []struct {
			id     string
			access model.Access
			want   error
		}{
			{reads.ID(), w.reading(), nil}, {reads.ID(), w.access, session.ErrOtherView}, {reads.ID(), w.reader(), session.ErrOtherView},
			{writes.ID(), w.access, nil}, {writes.ID(), w.reading(), session.ErrOtherView},
			{narrow.ID(), w.reader(), nil}, {narrow.ID(), w.reading(), session.ErrOtherView},
			{reads.ID(), stranger, model.ErrNotFound}, {writes.ID(), stranger, model.ErrNotFound},
		} {
			if s, err := w.Get(t.Context(), tt.id, tt.access); !errors.Is(err, tt.want) || (s == nil) != (tt.want != nil) {
				t.Errorf("%s with %+v: %v, %v", tt.id, tt.access, s, err)
			}
		}
		w.restart()
	}
	s, err := w.Get(t.Context(), reads.ID(), w.reading())
	w.must(err)
	if w.works(s, w.reading()); !s.ReadOnly() {
		t.Error("a token that may write has raised a session for reading")
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
