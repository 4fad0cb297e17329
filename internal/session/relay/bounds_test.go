package relay

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/session/relay/lines"
)

// waits reports whether the relay has stopped reading, and what waits to be taken.
func (r *Relay) waits() (bool, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed != nil, r.queued
}

// Responses that nobody takes stop the reading; taking them, or leaving, has it go
// on, and none is lost.
func TestUntakenResponsesStopTheReading(t *testing.T) {
	const calls, size, limit = 20, 200 << 10, 1 << 20
	r, child := start(t, Config{MaxQueued: limit})
	var all []*Call
	for i := range calls {
		all = append(all, call(t, r, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"a"}`, i)))
	}
	go func() {
		for range calls {
			child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"a":%q}}`, child.reads().ID(), strings.Repeat("x", size))
		}
	}()
	stopped, n := false, 0
	for !stopped {
		runtime.Gosched()
		stopped, n = r.waits()
	}
	if n <= limit || n > limit+size+calls*overhead {
		t.Errorf("%d bytes wait", n)
	}
	for i, c := range all {
		switch i % 3 {
		case 0:
			c.Leave()
		case 1:
			c.Cancel("")
		default:
			if got := len(next(t, c)); got < size {
				t.Errorf("call %d got %d bytes", i, got)
			}
		}
	}
	for r.InFlight() > 0 {
		runtime.Gosched()
	}
	if _, n = r.waits(); n != 0 {
		t.Errorf("%d bytes are counted still", n)
	}
}

// What one call is told meanwhile is bounded by number and by size, and one large
// message is let through.
func TestEventsOfACallAreBounded(t *testing.T) {
	for size, messages := range map[int]int{1: 2 * maxEvents, 100 << 10: 30, 3 << 20: 3} {
		r, child := start(t, Config{})
		a := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":1}}}`)
		id := child.reads().ID()
		for range messages {
			child.writes(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"message":%q}}`, id, strings.Repeat("x", size))
		}
		child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
		for r.InFlight() > 0 {
			runtime.Gosched()
		}
		if n := a.wait(); n > max(maxEventBytes, size)+maxEvents*overhead || n < size {
			t.Errorf("messages of %d bytes: %d wait", size, n)
		}
		for events := 0; ; events++ {
			if e, err := a.Next(t.Context()); err != nil || e.Final {
				if err != nil || events == 0 || events > maxEvents || events == messages {
					t.Errorf("messages of %d bytes: %d came, %v", size, events, err)
				}
				break
			}
		}
	}
}

func (c *Call) wait() int {
	c.relay.mu.Lock()
	defer c.relay.mu.Unlock()
	return c.queued
}

// A child that asks and does not read gets no more answers than fit, each whole,
// and is listened to all the while.
func TestChildThatDoesNotRead(t *testing.T) {
	var log strings.Builder
	r, child := start(t, Config{Log: logTo(&log)})
	a := call(t, r, `{"jsonrpc":"2.0","id":"a","method":"a"}`)
	id := child.reads().ID()
	const pings = 500
	for i := range pings {
		child.writes(`{"jsonrpc":"2.0","id":"%d%s","method":"ping"}`, i, strings.Repeat("x", 10<<10))
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
	next(t, a)
	if n := r.child.Pending(); n > lines.MaxPending+11<<10 || n < lines.MaxPending/2 {
		t.Errorf("%d bytes wait", n)
	}
	if n := strings.Count(log.String(), "does not read"); n != 1 {
		t.Errorf("%d lines logged", n)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := r.Start(t.Context(), message(t, `{"jsonrpc":"2.0","id":"b","method":"b"}`))
		ended <- err
	}()
	answers := 0
	for m := child.reads(); m.Method != "b"; m = child.reads() {
		answers++
	}
	if err := <-ended; err != nil || answers < 50 || answers == pings {
		t.Errorf("%d answers came; then %v", answers, err)
	}
}

// Answers that wait for their turn are bounded too; one that does not fit can be
// given again.
func TestWaitingAnswersAreBounded(t *testing.T) {
	r, child := serial(t, Config{MaxQueued: 1000})
	answer := func(question string) error {
		return r.Respond(message(t, `{"jsonrpc":"2.0","id":"`+question+`","result":{"x":"`+strings.Repeat("x", 600)+`"}}`))
	}
	var questions []string
	for i := range 2 {
		c, _ := tool(t, r, child, fmt.Sprint(i))
		child.writes(ask, i)
		questions = append(questions, asked(t, c))
	}
	c, id := tool(t, r, child, "c")
	if err := answer(questions[0]); err != nil {
		t.Fatal(err)
	}
	if err := answer(questions[1]); !errors.Is(err, ErrTooManyCalls) {
		t.Fatalf("an answer over the limit: %v", err)
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
	next(t, c)
	child.wantAnswer("q0", false)
	if err := answer(questions[1]); err != nil {
		t.Fatal(err)
	}
}
