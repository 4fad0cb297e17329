package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session"
)

func never(id int) mcp.Message {
	return message(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"never","arguments":{}}}`, id))
}

// hang begins a call that is never answered.
func (w *world) hang(s *session.Session, id int) *session.Call {
	w.t.Helper()
	c, err := s.Call(w.t.Context(), w.access, never(id))
	w.must(err)
	return c
}

// A unit whose calls nobody waits for any more is the first to go when another session
// needs its place, also before one that is idle. One whose answer somebody waits for is
// not stopped.
func TestDesertedUnitsGoFirst(t *testing.T) {
	for name, tc := range map[string]struct {
		perUser, max int
		desert       func(*world, *session.Session, *session.Call)
	}{
		"left":            {2, 10, func(_ *world, _ *session.Session, c *session.Call) { c.Leave() }},
		"given up":        {2, 10, func(_ *world, _ *session.Session, c *session.Call) { c.Cancel("no response in time") }},
		"of all sessions": {10, 2, func(_ *world, _ *session.Session, c *session.Call) { c.Leave() }},
		"cancelled": {2, 10, func(w *world, s *session.Session, _ *session.Call) {
			w.must(s.Tell(w.t.Context(), message(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, "standin")
			w.cfg.PerUser, w.cfg.Max = tc.perUser, tc.max
			w.Manager = session.New(w.cfg)
			idle := w.begin(w.access)
			w.advance(1)
			stuck := w.begin(w.access)
			left, waited := w.hang(stuck, 7), w.hang(stuck, 8)
			tc.desert(w, stuck, left)
			w.begin(w.access) // takes the idle one's place, since one call is waited for
			w.until("the idle session is dormant", func() bool { return strings.Contains(w.log.String(), "FJMCP_OUTCOME=dormant") })
			waited.Leave()
			w.advance(1)
			w.works(idle, w.access) // takes the deserted one's place, although the third is idle
			w.until("it is audited", func() bool { return strings.Contains(w.log.String(), "FJMCP_OUTCOME=abandoned") })
			if log := w.log.String(); !strings.Contains(log, "FJMCP_SESSION="+stuck.Label()+" FJMCP_UNIT=") || strings.Count(log, "session_reaped") != 2 {
				t.Errorf("the log says\n%s", log)
			}
			w.hang(idle, 1)
			third := w.begin(w.access)
			w.hang(third, 1)
			if _, err := stuck.Call(t.Context(), w.access, never(9)); !errors.Is(err, session.ErrBusy) {
				t.Errorf("a unit at work made room: %v", err)
			}
		})
	}
}
