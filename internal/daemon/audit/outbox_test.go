package audit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

func newClock(l *Logger) *clock {
	c := &clock{t: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)}
	l.now = c.now
	return c
}

// journald listens where a Logger looks for the journal, and returns what reads the next
// entry there.
func journald(t *testing.T) (stop func(), next func() map[string]string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: journalSocket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func() { conn.Close() }, func() map[string]string {
		t.Helper()
		buffer := make([]byte, 1<<16)
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return parse(string(buffer[:n]))
	}
}

func toTestJournal(t *testing.T) (*Logger, *clock) {
	t.Helper()
	before := journalSocket
	journalSocket = filepath.Join(t.TempDir(), "socket")
	t.Cleanup(func() { journalSocket = before })
	l := newLogger(true, toJournal())
	return l, newClock(l)
}

func call(l *Logger, tool string) {
	l.Event(context.Background(), Event{Kind: ToolCall, Tool: tool, Outcome: "ok"})
}

func wantCall(t *testing.T, e map[string]string, number int, tool, at string) {
	t.Helper()
	if e["FJMCP_NUMBER"] != strconv.Itoa(number) || e["FJMCP_TOOL"] != tool || e["FJMCP_TIME"] != "2026-11-30T08:00:"+at {
		t.Errorf("got %v, want number %d, tool %s, at %s", e, number, tool, at)
	}
}

// What happens while the journal is away is written once it is back, in order and with its
// own time, and that it was away, too.
func TestEventsOutliveTheJournal(t *testing.T) {
	l, c := toTestJournal(t)
	stop, next := journald(t)
	call(l, "one")
	wantCall(t, next(), 1, "one", "00.000000Z")
	if err := l.Check(); err != nil {
		t.Error(err)
	}

	for round, remove := range []bool{false, true} {
		stop()
		if remove {
			if err := os.Remove(journalSocket); err != nil {
				t.Fatal(err)
			}
		}
		call(l, "two")
		c.pass(2 * time.Second)
		call(l, "three")
		if err := l.Check(); err == nil || !strings.Contains(err.Error(), "; 2 wait in memory, which has 100 % of its room left, 0 are lost, 0 call(s) were refused") {
			t.Errorf("Check: %v", err)
		}
		c.pass(2 * time.Second)
		os.Remove(journalSocket)
		stop, next = journald(t)
		at, n := 4*round, 2+4*round
		late := next()
		wantCall(t, late, n, "two", fmt.Sprintf("%02d.000000Z", at))
		if want := ` outcome="ok" at=2026-11-30T08:00:0` + strconv.Itoa(at) + ".000000Z"; !strings.HasSuffix(late["MESSAGE"], want) {
			t.Errorf("the message is %q", late["MESSAGE"])
		}
		wantCall(t, next(), n+1, "three", fmt.Sprintf("%02d.000000Z", at+2))
		e := next()
		if e["FJMCP_EVENT"] != "audit_interrupted" || e["FJMCP_OUTCOME"] != "late" || e["PRIORITY"] != "4" ||
			!strings.HasPrefix(e["FJMCP_DETAIL"], fmt.Sprintf("from 2026-11-30T08:00:%02dZ to 2026-11-30T08:00:%02dZ: ", at, at+4)) ||
			!strings.HasSuffix(e["FJMCP_DETAIL"], "; 2 event(s) written late") {
			t.Errorf("%v", e)
		}
		if err := l.Check(); err != nil {
			t.Error(err)
		}
		call(l, "four")
		wantCall(t, next(), n+3, "four", fmt.Sprintf("%02d.000000Z", at+4))
	}
}

// A journal that does not read holds nobody up. A burst that it takes soon is no
// interruption.
func TestEventsDoNotWaitForTheJournal(t *testing.T) {
	l, _ := toTestJournal(t)
	_, next := journald(t)
	const burst = 3000 // more than any socket holds
	for range burst {
		call(l, "many")
	}
	for i := range burst {
		wantCall(t, next(), i+1, "many", "00.000000Z")
	}
	call(l, "after")
	wantCall(t, next(), burst+1, "after", "00.000000Z")
}

// What a program writes last is written before it ends, or said to be lost.
func TestFlush(t *testing.T) {
	l, _ := toTestJournal(t)
	stop, next := journald(t)
	const burst = 1500
	for range burst {
		call(l, "last")
	}
	read := make(chan bool)
	go func() {
		defer close(read)
		for i := range burst {
			wantCall(t, next(), i+1, "last", "00.000000Z")
		}
	}()
	if err := l.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	l.mu.Lock()
	if len(l.out.waiting) > 0 {
		t.Errorf("%d wait", len(l.out.waiting))
	}
	l.mu.Unlock()
	<-read
	stop()
	call(l, "lost")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Flush(ctx); err == nil || !strings.HasPrefix(err.Error(), "1 event(s)") {
		t.Errorf("got %v", err)
	}
}

// taker takes events as lines while it is well.
type taker struct {
	mu    sync.Mutex
	sick  error
	lines []string
}

func (w *taker) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sick != nil {
		return 0, w.sick
	}
	w.lines = append(w.lines, string(text))
	return len(text), nil
}

func (w *taker) heal() { w.mu.Lock(); defer w.mu.Unlock(); w.sick = nil }

func (w *taker) taken() []string { w.mu.Lock(); defer w.mu.Unlock(); return w.lines }

// Memory for events is bounded. What it does not hold is counted; where events are
// required, calls are refused before that.
func TestEventsAreBounded(t *testing.T) {
	for _, required := range []bool{false, true} {
		w := &taker{sick: errors.New("nobody reads")}
		l := New(w)
		c := newClock(l)
		observed := map[Kind]int{}
		l.Observe(func(e Event) { observed[e.Kind]++ })
		if required {
			l.Require()
		}
		lost, refused, most := 0, 0, 0
		for i := range 30_000 {
			if i == 100 && l.Admit() != nil {
				t.Fatal("calls are refused at once")
			}
			if l.Admit() != nil {
				refused++
				continue
			}
			call(l, strings.Repeat("x", maxField))
			l.mu.Lock()
			lost, most = l.out.lost, l.out.size
			l.mu.Unlock()
		}
		switch {
		case required && (lost > 0 || refused == 0 || most > maxWaiting*6/10):
			t.Errorf("%d lost, %d refused, %d bytes", lost, refused, most)
		case !required && (lost == 0 || refused > 0 || most > maxWaiting):
			t.Errorf("%d lost, %d refused, %d bytes", lost, refused, most)
		}
		if b := l.Backlog(); b.Waiting != 30_000-lost-refused || b.Bytes == 0 || b.Bytes > b.Room || b.Room != maxWaiting || b.Lost != lost || b.Refused != refused {
			t.Errorf("%+v, but %d lost, %d refused", b, lost, refused)
		}
		c.pass(time.Minute)
		if err := l.Check(); errors.Is(err, ErrMute) != required || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("nobody reads; %d wait", 30_000-lost-refused)) {
			t.Errorf("Check: %v", err)
		}
		w.heal()
		want := 30_000 - lost - refused
		for end := time.Now().Add(time.Minute); len(w.taken()) <= want && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		lines := w.taken()
		if len(lines) != want+1 {
			t.Fatalf("%d lines, want %d", len(lines), want+1)
		}
		for i, line := range lines[:want] {
			if !strings.Contains(line, fmt.Sprintf(" FJMCP_NUMBER=%d ", i+1)) {
				t.Fatalf("line %d is %q", i, line)
			}
		}
		said := fmt.Sprintf("%d event(s) written late, %d call(s) refused", want, refused)
		if !required {
			said = fmt.Sprintf("%d event(s) written late, %d lost, of the numbers %d to 30000", want, lost, want+1)
		}
		if last := lines[want]; !strings.Contains(last, "FJMCP_EVENT=audit_interrupted") || !strings.Contains(last, said) {
			t.Errorf("the last line is %q, want %q", last, said)
		}
		if l.Admit() != nil || l.Check() != nil {
			t.Error("still interrupted")
		}
		if b := l.Backlog(); b != (Backlog{Room: maxWaiting, Lost: lost, Refused: refused}) {
			t.Errorf("when it is over: %+v", b)
		}
		if observed[ToolCall] != 30_000-refused || observed[Interrupted] != 1 {
			t.Errorf("observed were %v", observed)
		}
	}
}
