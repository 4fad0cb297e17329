package relay

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A cancelled call keeps its slot until the child answers, or for abandonAfter.
func TestCancelledCallKeepsItsSlot(t *testing.T) {
	for name, answers := range map[string]bool{"answered": true, "abandoned": false} {
		t.Run(name, func(t *testing.T) {
			clock := &clock{}
			r, child := start(t, Config{MaxCalls: 1, AfterFunc: clock.after})
			a, id := tool(t, r, child, "a")
			a.Cancel("enough")
			a.Cancel("twice")
			if got, want := string(child.reads().Raw), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+string(id)+`,"reason":"enough"}}`; got != want {
				t.Errorf("child read %s", got)
			}
			for range 2 {
				if e, err := a.Next(t.Context()); err != nil || !e.Final || e.Raw != nil {
					t.Errorf("got %+v, %v", e, err)
				}
			}
			if _, err := r.Start(t.Context(), message(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)); !errors.Is(err, ErrTooManyCalls) || r.InFlight() != 1 {
				t.Fatalf("another call: %v; %d in flight", err, r.InFlight())
			}
			child.writes(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`) // its own, so dropped
			child.sync()
			if answers {
				child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
				if err := r.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				clock.fire()
			}
			b, _ := tool(t, r, child, "b")
			if r.InFlight() != 1 || b.queued != 0 || clock.waiting() != 0 {
				t.Errorf("%d in flight, %d bytes wait, %d timers", r.InFlight(), b.queued, clock.waiting())
			}
		})
	}
}

// A call that nobody waits for is cancelled in the end.
func TestLeftCallIsCancelledInTheEnd(t *testing.T) {
	clock := &clock{}
	r, child := start(t, Config{AfterFunc: clock.after})
	a, id := tool(t, r, child, "a")
	a.Leave()
	clock.fire()
	if m := child.reads(); string(m.Param("requestId")) != string(id) || r.InFlight() != 0 {
		t.Errorf("child read %s; %d in flight", m.Raw, r.InFlight())
	}
	drained := make(chan error, 1)
	go func() { drained <- r.Drain(t.Context()) }()
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// A child that obeys answers no cancelled call: that costs it no slot for good, but
// it is not known to be idle any more.
func TestChildThatNeverAnswersCancelledCalls(t *testing.T) {
	clock := &clock{}
	r, child := start(t, Config{MaxCalls: 1, AfterFunc: clock.after})
	for range maxAbandoned + 10 {
		c, _ := tool(t, r, child, "a")
		c.Cancel("")
		child.reads()
		clock.fire()
	}
	if n := len(r.abandoned); n > maxAbandoned {
		t.Errorf("%d calls are remembered", n)
	}
	soon, cancel := context.WithCancel(t.Context())
	cancel()
	if err := handOver(t, r, Config{Epoch: 1}).Drain(soon); !errors.Is(err, context.Canceled) {
		t.Errorf("the child counts as idle: %v", err)
	}
}

// Two clients of a shared session may use one id: then a cancellation names nobody.
func TestAmbiguousCancellationIsDropped(t *testing.T) {
	r, child := start(t, Config{})
	a, first := tool(t, r, child, "same")
	b, second := tool(t, r, child, "same")
	cancel := message(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"same"}}`)
	if err := r.Notify(t.Context(), cancel); err != nil {
		t.Fatal(err)
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, first)
	if got := next(t, a); !strings.Contains(got, "result") {
		t.Errorf("got %s", got)
	}
	if err := r.Notify(t.Context(), cancel); err != nil {
		t.Fatal(err)
	}
	if m := child.reads(); string(m.Param("requestId")) != string(second) || !b.cancelled {
		t.Errorf("child read %s", m.Raw)
	}
}

const listen = `{"jsonrpc":"2.0","id":%s,"method":"subscriptions/listen","params":{"notifications":{}}}`

// A standing call is beside the others, and gets what names it.
func TestStandingCall(t *testing.T) {
	var others []string
	r, child := start(t, Config{MaxCalls: 1, Other: func(raw []byte) bool { others = append(others, string(raw)); return true }})
	s := call(t, r, strings.Replace(listen, "%s", `"s \u0031"`, 1))
	id := child.reads().ID()
	a, first := tool(t, r, child, "a")
	if r.InFlight() != 1 {
		t.Errorf("%d in flight", r.InFlight())
	}
	child.writes(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}`) // a's
	child.writes(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s,"x":1.0},"notifications":{}}}`, id)
	child.writes(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, first)
	child.writes(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"none"}}}`)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, id, id)
	for _, want := range []string{
		`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"s \u0031","x":1.0},"notifications":{}}}`,
		`{"jsonrpc":"2.0","id":"s \u0031","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"s \u0031"}}}`,
	} {
		if got := next(t, s); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	if got := next(t, a); !strings.Contains(got, "notifications/message") || len(others) != 0 {
		t.Errorf("a got %s, others %q", got, others)
	}
}

// A subscription that nobody follows ends, and the child is idle then.
func TestLeftStandingCall(t *testing.T) {
	clock := &clock{}
	r, child := start(t, Config{AfterFunc: clock.after})
	s := call(t, r, strings.Replace(listen, "%s", "1", 1))
	child.reads()
	s.Leave()
	clock.fire()
	if m := child.reads(); m.Method != "notifications/cancelled" || len(r.Calls()) != 0 {
		t.Errorf("child read %s; %d calls left", m.Raw, len(r.Calls()))
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// Either side ends a subscription at once.
func TestStandingCallsEnd(t *testing.T) {
	r, child := start(t, Config{})
	ours := call(t, r, strings.Replace(listen, "%s", "1", 1))
	child.reads()
	theirs := call(t, r, strings.Replace(listen, "%s", "2", 1))
	id := child.reads().ID()
	ours.Cancel("closed")
	child.reads()
	child.writes(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`, id)
	for _, c := range []*Call{ours, theirs} {
		if e, err := c.Next(t.Context()); err != nil || !e.Final || e.Raw != nil {
			t.Errorf("got %+v, %v", e, err)
		}
	}
	if n := len(r.Calls()); n != 0 {
		t.Errorf("%d calls left", n)
	}
	for range maxStanding {
		call(t, r, strings.Replace(listen, "%s", "3", 1))
	}
	if _, err := r.Start(t.Context(), message(t, strings.Replace(listen, "%s", "4", 1))); !errors.Is(err, ErrTooManyCalls) {
		t.Errorf("one more: %v", err)
	}
}
