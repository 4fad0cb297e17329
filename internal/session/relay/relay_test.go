package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/proto/mcp"
	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// child is the far end of a relay's socket, scripted by the test.
type child struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Scanner
}

func start(t testing.TB, cfg Config) (*Relay, *child) {
	t.Helper()
	ours, child := newChild(t)
	return over(t, ours, cfg), child
}

// newChild returns our end of a child's socket and the child.
func newChild(t testing.TB) (*net.UnixConn, *child) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := conn(t, fds[0]), conn(t, fds[1])
	in := bufio.NewScanner(theirs)
	in.Buffer(nil, 1<<20)
	return ours, &child{t, theirs, in}
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// over starts a relay over conn.
func over(t testing.TB, conn *net.UnixConn, cfg Config) *Relay {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = logTo(io.Discard)
	}
	if cfg.Other == nil {
		cfg.Other = func([]byte) bool { return false }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Socket, cfg.Output = conn, conn
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func conn(t testing.TB, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}

func (c *child) reads() mcp.Message {
	c.t.Helper()
	if !c.in.Scan() {
		c.t.Fatalf("child saw EOF: %v", c.in.Err())
	}
	m, err := mcp.Parse(bytes.Clone(c.in.Bytes()))
	if err != nil {
		c.t.Fatalf("child read %q: %v", c.in.Text(), err)
	}
	return m
}

// sync returns when the relay has taken all that was written.
func (c *child) sync() {
	c.t.Helper()
	c.writes(`{"jsonrpc":"2.0","id":"sync","method":"ping"}`)
	if m := c.reads(); string(m.ID()) != `"sync"` {
		c.t.Fatalf("child read %s", m.Raw)
	}
}

// last reads up to a request.
func (c *child) last() mcp.Message {
	for {
		if m := c.reads(); m.Kind == mcp.Request {
			return m
		}
	}
}

func (c *child) writes(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

func message(t *testing.T, raw string) mcp.Message {
	t.Helper()
	m, err := mcp.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func call(t *testing.T, r *Relay, raw string) *Call {
	t.Helper()
	c, err := r.Start(context.Background(), message(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func next(t *testing.T, c *Call) string {
	t.Helper()
	e, err := c.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Raw)
}

func TestAnswersOutOfOrderKeepTheirIDs(t *testing.T) {
	r, child := start(t, Config{})
	a := call(t, r, `{"jsonrpc":"2.0","id":"same","method":"a"}`)
	b := call(t, r, `{"jsonrpc":"2.0","id":1.50,"method":"b"}`)
	first, second := child.reads(), child.reads()
	if string(first.ID()) == string(second.ID()) {
		t.Fatalf("both calls went out as %s", first.ID())
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"n":12345678901234567890}}`, second.ID())
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, first.ID())
	if got := next(t, b); got != `{"jsonrpc":"2.0","id":1.50,"result":{"n":12345678901234567890}}` {
		t.Errorf("b got %s", got)
	}
	if got := next(t, a); got != `{"jsonrpc":"2.0","id":"same","result":{}}` {
		t.Errorf("a got %s", got)
	}
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d calls in flight after both were answered", n)
	}
}

func TestProgressGoesToItsCallBeforeTheAnswer(t *testing.T) {
	r, child := start(t, Config{})
	a := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":"tok"}}}`)
	call(t, r, `{"jsonrpc":"2.0","id":2,"method":"b","params":{"_meta":{"progressToken":"tok"}}}`)
	sent := child.reads()
	child.writes(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}`, sent.Param("_meta", "progressToken"))
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, sent.ID())
	if got := next(t, a); got != `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok","progress":1}}` {
		t.Errorf("got %s", got)
	}
	if got := next(t, a); got != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Errorf("got %s", got)
	}
}

func TestQuestionReachesTheOnlyCallAndItsAnswerTheChild(t *testing.T) {
	r, child := start(t, Config{})
	a := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a"}`)
	child.reads()
	child.writes(`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}`)
	q := message(t, next(t, a))
	if q.Method != "elicitation/create" || string(q.ID()) == "1" {
		t.Fatalf("the client was asked %s", q.Raw)
	}
	answer := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept"}}`, q.ID())
	if err := r.Respond(message(t, answer)); err != nil {
		t.Fatal(err)
	}
	if got := string(child.reads().Raw); got != `{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}` {
		t.Fatalf("child read %s", got)
	}
	if err := r.Respond(message(t, answer)); !errors.Is(err, ErrNoQuestion) {
		t.Fatalf("a second answer gave %v", err)
	}
}

func TestQuestionWithoutAClientIsRefused(t *testing.T) {
	_, child := start(t, Config{})
	child.writes(`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`)
	if m := child.reads(); !m.IsError() || string(m.ID()) != `"q"` {
		t.Fatalf("child read %s", m.Raw)
	}
}

func TestCancellationNamesTheChildsID(t *testing.T) {
	r, child := start(t, Config{})
	a := call(t, r, `{"jsonrpc":"2.0","id":"mine","method":"a"}`)
	sent := child.reads()
	if err := r.Notify(context.Background(), message(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"mine"}}`)); err != nil {
		t.Fatal(err)
	}
	if got := child.reads(); string(got.Param("requestId")) != string(sent.ID()) {
		t.Fatalf("child read %s, want request %s", got.Raw, sent.ID())
	}
	if e, err := a.Next(context.Background()); err != nil || !e.Final || e.Raw != nil {
		t.Fatalf("the call ended with %+v, %v", e, err)
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, sent.ID()) // late, dropped
	b := call(t, r, `{"jsonrpc":"2.0","id":"next","method":"b"}`)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, child.reads().ID())
	if got := next(t, b); got != `{"jsonrpc":"2.0","id":"next","result":{}}` {
		t.Fatalf("got %s", got)
	}
}

// Drain also waits for the answer to a cancelled call, which the child may still
// be at work on.
func TestDrain(t *testing.T) {
	r, child := start(t, Config{})
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	call(t, r, `{"jsonrpc":"2.0","id":"a","method":"tools/call"}`)
	call(t, r, `{"jsonrpc":"2.0","id":"b","method":"tools/list"}`)
	first, second := child.reads().ID(), child.reads().ID()
	if err := r.Notify(t.Context(), message(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}`)); err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- r.Drain(t.Context()) }()
	soon, cancel := context.WithCancel(t.Context())
	cancel()
	for i, id := range []json.RawMessage{second, first} {
		if err := r.Drain(soon); !errors.Is(err, context.Canceled) {
			t.Fatalf("with an answer outstanding: %v", err)
		}
		child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
		for len(r.Calls()) > 1-i {
			runtime.Gosched()
		}
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
}

// A flood of rubbish costs a line for the first of each kind and one an interval.
func TestRubbishCostsALogLineNotTheSession(t *testing.T) {
	var log strings.Builder
	clock := &clock{}
	r, child := start(t, Config{Config: lines.Config{MaxLine: 1000}, Log: logTo(&log), AfterFunc: clock.after})
	answer := func() {
		t.Helper()
		a := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a"}`)
		child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, child.last().ID())
		next(t, a)
	}
	for range 1000 {
		child.writes("hello")
		child.writes("[]")
		child.writes("\r")
	}
	child.writes(strings.Repeat("x", 100_000))
	answer()
	if n := strings.Count(log.String(), "skipped it"); n != 2 {
		t.Fatalf("%d lines logged, want 2:\n%s", n, &log)
	}
	clock.fire()
	if !strings.Contains(log.String(), "more=1999") || clock.waiting() != 1 {
		t.Fatalf("the rest was not counted, or %d timers wait:\n%s", clock.waiting(), &log)
	}
	clock.fire()
	child.writes("hello")
	answer()
	if n := strings.Count(log.String(), "skipped it"); n != 4 || clock.waiting() != 1 {
		t.Fatalf("%d lines logged, want 4:\n%s", n, &log)
	}
}

// clock is the timers of a relay, which end when the test says so.
type clock struct {
	real time.Duration // timers of this length run by themselves

	mu     sync.Mutex
	timers map[*int]func()
}

func (c *clock) after(d time.Duration, f func()) func() bool {
	if d == c.real {
		return time.AfterFunc(d, f).Stop
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers == nil {
		c.timers = map[*int]func(){}
	}
	key := new(int)
	c.timers[key] = f
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waits := c.timers[key]
		delete(c.timers, key)
		return waits
	}
}

func (c *clock) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.timers)
}

// fire ends the timers that run.
func (c *clock) fire() {
	c.mu.Lock()
	timers := c.timers
	c.timers = nil
	c.mu.Unlock()
	for _, f := range timers {
		f()
	}
}

func TestChildEndsMidCall(t *testing.T) {
	r, child := start(t, Config{})
	a := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a"}`)
	child.reads()
	child.conn.Close()
	if _, err := a.Next(context.Background()); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v, want ErrClosed", err)
	}
	<-r.Done()
	if _, err := r.Start(context.Background(), message(t, `{"jsonrpc":"2.0","id":2,"method":"b"}`)); !errors.Is(err, ErrClosed) {
		t.Fatalf("a later call gave %v", err)
	}
}

func TestCallsAreBounded(t *testing.T) {
	r, _ := start(t, Config{MaxCalls: 2})
	call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a"}`)
	call(t, r, `{"jsonrpc":"2.0","id":2,"method":"a"}`)
	if _, err := r.Start(context.Background(), message(t, `{"jsonrpc":"2.0","id":3,"method":"a"}`)); !errors.Is(err, ErrTooManyCalls) {
		t.Fatalf("got %v", err)
	}
}

// A client that does not read costs its own progress messages and nothing else.
func TestSlowClientLosesProgressOnly(t *testing.T) {
	r, child := start(t, Config{})
	a := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":1}}}`)
	sent := child.reads()
	for i := range 10 * maxEvents {
		child.writes(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`, sent.ID(), i)
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, sent.ID())
	for {
		e, err := a.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if e.Final {
			return
		}
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	r, child := start(t, Config{})
	go func() {
		for child.in.Scan() {
			m, _ := mcp.Parse(bytes.Clone(child.in.Bytes()))
			fmt.Fprintf(child.conn, `{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", m.ID(), m.Params())
		}
	}()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 50 {
				c, err := r.Start(context.Background(), message(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"a","params":{"i":%d}}`, j, i)))
				if err != nil {
					t.Error(err)
					return
				}
				e, err := c.Next(context.Background())
				var got struct {
					ID     int
					Result struct{ I int }
				}
				if err != nil || json.Unmarshal(e.Raw, &got) != nil || got.ID != j || got.Result.I != i {
					t.Errorf("call %d/%d got %s, %v", i, j, e.Raw, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestAfterDoneIsTold(t *testing.T) {
	r, c := start(t, Config{})
	told := make(chan string, 2)
	r.AfterDone(func() { <-r.Done(); told <- "before" })
	select {
	case <-told:
		t.Fatal("told of an end that had not come")
	default:
	}
	c.conn.Close()
	if got := <-told; got != "before" {
		t.Error(got)
	}
	r.AfterDone(func() { told <- "after" })
	if got := <-told; got != "after" {
		t.Error(got)
	}
}
