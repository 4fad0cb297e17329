package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/localhost"
)

const mib = 1 << 20

// anon is the memory of the broker that is not of files, bytes.
func (w *world) anon() int {
	w.t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(w.broker.Pid()) + "/status")
	w.must(err)
	_, after, _ := strings.Cut(string(b), "RssAnon:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	w.must(err)
	return kib << 10
}

// grows runs do and returns by how many bytes the broker's memory grew at most.
func (w *world) grows(do func()) int {
	w.t.Helper()
	before := w.anon()
	var most atomic.Int64
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			most.Store(max(most.Load(), int64(w.anon())))
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	do()
	close(done)
	watch.Wait()
	return int(most.Load()) - before
}

// unread sends a request on a connection of its own, which it returns, and never
// reads what comes.
func (w *world) unread(method, token, session, body string) net.Conn {
	w.t.Helper()
	c, err := new(localhost.Dialer).DialContext(w.t.Context(), "tcp", strings.TrimPrefix(w.broker.URL, "http://"))
	w.must(err)
	w.t.Cleanup(func() { c.Close() })
	w.must(c.(*net.TCPConn).SetReadBuffer(4 << 10))
	r := w.request(w.t.Context(), method, "/mcp", token, body, "Mcp-Session-Id", session)
	w.must(r.Write(c))
	return c
}

func flood(id, what string, lines, bytes int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"tools/call","params":{"name":"flood","arguments":{"what":%q,"lines":%d,"bytes":%d},"_meta":{"progressToken":%q}}}`, id, what, lines, bytes, id)
}

// idle waits until no call is in flight at any backend.
func (w *world) idle() {
	w.t.Helper()
	for s := w.sessions(); strings.Contains(s, `"in_flight":`) && !onlyZero(s); s = w.sessions() {
		time.Sleep(20 * time.Millisecond)
	}
}

func onlyZero(sessions string) bool {
	return strings.Count(sessions, `"in_flight":`) == strings.Count(sessions, `"in_flight":0`)
}

// What a backend says to a client that does not read, or to nobody, is bounded in
// memory, whatever it is.
func TestFloodsAreBounded(t *testing.T) {
	const lines, bytes = 16 << 10, 8 << 10 // 128 MiB
	for _, tc := range []struct {
		name, what string
		flood      func(w *world, token, session string)
	}{
		{"progress to a client that does not read", "progress", func(w *world, token, session string) {
			w.unread("POST", token, session, flood("x", "progress", lines, bytes))
		}},
		{"log messages to a client that does not read", "log", func(w *world, token, session string) {
			w.unread("POST", token, session, flood("x", "log", lines, bytes))
		}},
		{"log messages to nobody", "log", func(w *world, token, session string) {
			w.open("POST", token, session, slowly("y", 3000, "")).next() // they may belong to either call
			w.unread("POST", token, session, flood("x", "log", lines, bytes))
		}},
		{"log messages to a listener that does not read", "log", func(w *world, token, session string) {
			w.unread("GET", token, session, "")
			w.open("POST", token, session, slowly("y", 3000, "")).next()
			w.unread("POST", token, session, flood("x", "log", lines, bytes))
		}},
		{"rubbish", "rubbish", func(w *world, token, session string) {
			w.unread("POST", token, session, flood("x", "rubbish", lines, bytes))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, "standin")
			c := w.mustConnect("alice")
			token := w.token(c)
			w.mustCall(c, "get_my_user_info", nil, "alice")
			grew := w.grows(func() {
				tc.flood(w, token, c.ID())
				w.waitLog("flooded with "+tc.what, 1)
				w.idle()
			})
			t.Logf("grew by %d MiB", grew/mib)
			if grew > 48*mib {
				t.Errorf("the broker grew by %d MiB", grew/mib)
			}
		})
	}
}

// Large results wait in the backend while the client does not read those before.
func TestLargeResultsWaitForTheClient(t *testing.T) {
	const calls, bytes = 24, 8 * mib
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	w.mustCall(c, "get_my_user_info", nil, "alice")
	grew := w.grows(func() {
		var connections []net.Conn
		for i := range calls {
			connections = append(connections, w.unread("POST", token, c.ID(), flood(fmt.Sprint(i), "result", 0, bytes)))
		}
		w.waitLog("flooded with result", calls)
		for before := ""; before != w.sessions(); time.Sleep(time.Second) {
			before = w.sessions()
		}
		for _, c := range connections { // it leaves, and all goes on
			c.Close()
		}
		w.idle()
	})
	t.Logf("grew by %d MiB", grew/mib)
	if grew > 208*mib { // 64 MiB and the results on both sides of it, doubled by the collector
		t.Errorf("the broker grew by %d MiB", grew/mib)
	}
	w.mustCall(c, "get_my_user_info", nil, "alice")
}

// A backend that never answers holds as many calls as it may have, and no memory
// of those that were refused or given up. On a busy machine some are given up before
// they reach it, and so before they count.
func TestBackendNeverAnswers(t *testing.T) {
	const most, refusals = 100, 220
	w := start(t, "standin", "FJMCP_BROKER_REQUEST_TIMEOUT=1s")
	c := w.mustConnect("alice")
	token := w.token(c)
	never := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"never","arguments":{"padding":%q}}}`, strings.Repeat("x", mib))
	var timeouts, refused atomic.Int32
	grew := w.grows(func() {
		var together sync.WaitGroup
		for range 8 {
			together.Go(func() {
				for refused.Load() < refusals {
					switch r := w.post(token, c.ID(), never); {
					case r.status == 200 && strings.Contains(r.body, "did not answer in time"):
						timeouts.Add(1)
					case r.status == http.StatusTooManyRequests:
						refused.Add(1)
					default:
						t.Errorf("got %d %s", r.status, r.body)
						return
					}
				}
			})
		}
		together.Wait()
	})
	t.Logf("grew by %d MiB, %d timeouts, %d refused", grew/mib, timeouts.Load(), refused.Load())
	if timeouts.Load() < most {
		t.Errorf("%d timeouts for %d calls", timeouts.Load(), most)
	}
	w.waitCalls(most)
	if grew > 96*mib {
		t.Errorf("the broker grew by %d MiB", grew/mib)
	}
	other, err := c.Again(t.Context())
	w.must(err)
	w.mustCall(other, "get_my_user_info", nil, "alice")
}

// A backend that does not read its input costs what may wait for it, and goes on
// when it reads again.
func TestBackendDoesNotRead(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	pid, err := w.pid(c)
	w.must(err)
	w.must(syscall.Kill(pid, syscall.SIGSTOP))
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%%d,"method":"tools/call","params":{"name":"get_my_user_info","arguments":{},"_meta":{"padding":%q}}}`, strings.Repeat("x", 2*mib))
	var answered, refused atomic.Int32
	var together sync.WaitGroup
	grew := w.grows(func() {
		for i := range 90 {
			sent := make(chan struct{})
			together.Go(func() {
				r := w.post(token, c.ID(), fmt.Sprintf(body, i))
				switch {
				case r.status == http.StatusTooManyRequests:
					refused.Add(1)
				case strings.Contains(r.body, "alice"):
					answered.Add(1)
				default:
					t.Errorf("got %d %.200s", r.status, r.body)
				}
				close(sent)
			})
			for refused.Load() == 0 && !strings.Contains(w.sessions(), fmt.Sprintf(`"in_flight":%d`, i+1)) {
				time.Sleep(time.Millisecond)
			}
			if refused.Load() > 0 {
				break
			}
		}
		w.must(syscall.Kill(pid, syscall.SIGCONT))
		together.Wait()
	})
	t.Logf("grew by %d MiB, %d answered, %d refused", grew/mib, answered.Load(), refused.Load())
	if answered.Load() == 0 || refused.Load() != 1 {
		t.Errorf("%d answered, %d refused", answered.Load(), refused.Load())
	}
	if grew > 288*mib { // 64 MiB of bodies and their lines, doubled by the collector
		t.Errorf("the broker grew by %d MiB", grew/mib)
	}
}

// Streams whose clients vanish, or come back again and again, leave no descriptor.
func TestStreamsLeaveNothing(t *testing.T) {
	w := start(t, "standin")
	c := w.mustConnect("alice")
	token := w.token(c)
	files := func() int {
		entries, err := os.ReadDir("/proc/" + strconv.Itoa(w.broker.Pid()) + "/fd")
		w.must(err)
		return len(entries)
	}
	before := files() + 10 // connections that are kept, more or fewer
	last := w.open("GET", token, c.ID(), "")
	for range 200 {
		next := w.open("GET", token, c.ID(), "")
		last.rest() // it ends
		last = next
		for w.tryListen(token) != http.StatusOK { // while those that left are not noticed yet
			time.Sleep(time.Millisecond)
		}
	}
	last.cancel()
	for giveUp := time.Now().Add(time.Minute); files() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(giveUp) {
			t.Fatalf("%d descriptors, %d before", files(), before)
		}
	}
}
