package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Clients that vanish in every way they can leave nothing: their sessions are reaped
// with all that was theirs, but for a row each, which is what they are woken by.
func TestE2EAbandoned(t *testing.T) {
	n := number(t, "FJMCP_E2E_ABANDONED", 150)
	s := enabled(t, standin(t), map[string]string{
		"FJMCP_BROKER_SESSION_IDLE_TIMEOUT": "5s", "FJMCP_BROKER_SESSIONS_PER_USER": "100", "FJMCP_BROKER_SESSIONS_MAX": "200",
	})
	access := []string{logIn(t, s, "alice").Access, logIn(t, s, "bob").Access}
	const atOnce = 6
	vanish := func(n int) {
		var clients sync.WaitGroup
		numbers := make(chan int)
		for range atOnce {
			clients.Go(func() {
				for i := range numbers {
					abandon(t, s, access[i%2], i)
				}
			})
		}
		for i := range n {
			numbers <- i
		}
		close(numbers)
		clients.Wait()
		if t.Failed() {
			t.Log(journal(s, "FJMCP_EVENT=session_failed"))
		}
		nothingLeft(t, s)
	}
	const first = 4 * atOnce
	vanish(first) // so that what is kept from then on is there
	before := descriptors(t, s)
	vanish(n)
	const slack = 10 // connections to the forge and to the database are kept, more or fewer
	await(t, "the broker has as many descriptors as before", func() bool { return descriptors(t, s) <= before+slack })
	rows, err := strconv.Atoi(strings.TrimSpace(run(t, s, "sqlite3", "-readonly", "/var/lib/fjmcp/fjmcp.db", "SELECT COUNT(*) FROM sessions")))
	if err != nil || rows < first+n {
		t.Errorf("%d sessions were begun, %v; want %d", rows, err, first+n)
	}
}

// abandon begins a session and vanishes: at once, after a call, in a call, or with
// its stream at GET open. Now and then it has vanished while one started.
func abandon(t *testing.T, s *System, access string, i int) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newRaw(s, access)
	defer c.http.CloseIdleConnections()
	defer cancel()
	if i%5 == 0 {
		soon, cancel := context.WithTimeout(ctx, rand.N(300*time.Millisecond)) // the moment is what is tried, nothing waits for it
		early := newRaw(s, access)
		_ = early.begin(soon)
		cancel()
		early.http.CloseIdleConnections() // it may have been answered in time
	}
	if err := c.begin(ctx); err != nil {
		t.Errorf("session %d: %v", i, err)
		return
	}
	var err error
	switch i % 4 {
	case 1:
		_, err = c.tool(ctx, 1, "get_my_user_info", nil)
	case 2:
		err = c.listen(ctx, http.MethodPost, toolCall(1, "slow", map[string]any{"ms": 1000, "steps": 4})) // returns at the first step
	case 3:
		err = c.listen(ctx, http.MethodGet, "")
	}
	if err != nil {
		t.Errorf("session %d: %v", i, err)
	}
}

// number reads a number from the environment, for runs longer than those of every
// day.
func number(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a number from 1 on", name, text)
	}
	return n
}
