package session_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/session"
)

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// A thousand sessions, half of them ended by their clients and half abandoned,
// leave no goroutine, descriptor or process behind.
func TestSessionsLeaveNothing(t *testing.T) {
	const rounds, sessions, atOnce = 10, 100, 8
	w := start(t, "standin")
	w.cfg.PerUser, w.cfg.Max, w.cfg.IdleTimeout = sessions, sessions, time.Minute
	w.Manager = session.New(w.cfg)
	w.many(2*atOnce, atOnce)
	// Connections to the forge and to the database are kept, more or fewer.
	const slack = 20
	goroutines, files := runtime.NumGoroutine()+slack, w.files()+slack
	for range rounds {
		w.many(sessions, atOnce)
	}
	w.until("goroutines and descriptors go", func() bool {
		return runtime.NumGoroutine() <= goroutines && w.files() <= files
	})
	if children := w.children(); len(children) > 0 {
		t.Errorf("processes are left: %v", children)
	}
}

// many runs n sessions, some at once, and has the abandoned reaped.
func (w *world) many(n, atOnce int) {
	w.t.Helper()
	next := make(chan int)
	var clients sync.WaitGroup
	for range atOnce {
		clients.Go(func() {
			for i := range next {
				w.one(i%2 == 0)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	clients.Wait()
	w.advance(2 * w.cfg.IdleTimeout)
	w.until("the abandoned are reaped", func() bool { return len(w.units()) == 0 })
}

// one is a session with a call, ended or abandoned.
func (w *world) one(ended bool) {
	s, _, err := w.Create(w.t.Context(), w.access, message(initialize))
	if err != nil {
		w.t.Error(err)
		return
	}
	w.call(s, w.access, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if ended {
		w.must(w.End(w.t.Context(), s))
	}
}

func (w *world) files() int {
	entries, err := os.ReadDir("/proc/self/fd")
	w.must(err)
	return len(entries)
}

// children are the processes that this one has started, dead ones included.
func (w *world) children() (all []string) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	w.must(err)
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil { // it has ended
			continue
		}
		_, fields, _ := strings.Cut(string(b), ") ") // state, parent, …
		if strings.Fields(fields)[1] == strconv.Itoa(os.Getpid()) {
			all = append(all, string(b))
		}
	}
	return all
}
