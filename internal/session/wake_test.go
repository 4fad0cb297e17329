package session_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/session"
)

// Requests that come to a dormant session at once start one unit, wait for it, and
// are all answered.
func TestConcurrentRequestsWakeOneUnit(t *testing.T) {
	w := start(t, "standin")
	s := w.begin(w.access)
	before := w.units()
	w.must(w.cfg.Launcher.Stop(t.Context(), before[0]))
	w.until("the session is dormant", func() bool { return len(w.Awake()) == 0 })
	begun := strings.Count(w.log.String(), "session_started")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			c, err := s.Call(t.Context(), w.access, message(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"get_my_user_info"}}`, i)))
			if err != nil {
				t.Error(err)
				return
			}
			e, err := c.Next(t.Context())
			if err != nil || !e.Final || e.Failed || string(message(string(e.Raw)).ID()) != fmt.Sprint(i) {
				t.Errorf("request %d: %s, %v", i, e.Raw, err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(w.log.String(), "session_started") - begun; n != 1 {
		t.Errorf("%d units were started", n)
	}
	if n := strings.Count(w.log.String(), `FJMCP_DETAIL="after it was dormant"`); n != 1 {
		t.Errorf("%d starts were wakes", n)
	}
	if n := w.Count(); n != (session.Counts{Running: 1, MostOfUser: 1}) {
		t.Errorf("there are %+v", n)
	}
	if now := w.units(); len(now) != 1 || now[0] == before[0] {
		t.Errorf("units %q, before %q", now, before)
	}
}
