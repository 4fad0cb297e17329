package relay

import (
	"slices"
	"testing"
	"time"
)

// What is in flight is told by tool and time, whatever the arguments are.
func TestCallsAreDescribed(t *testing.T) {
	now := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	r, child := start(t, Config{Now: func() time.Time { return now }})
	call(t, r, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"name":"secret"},"name":"create_issue"}}`)
	tool := child.reads()
	now = now.Add(time.Minute)
	call(t, r, `{"jsonrpc":"2.0","id":2,"method":"prompts/get","params":{"name":"p"}}`)
	child.reads()

	all := r.Calls()
	slices.SortFunc(all, func(a, b *Call) int { return a.Began.Compare(b.Began) })
	if len(all) != 2 || all[0].Tool != "create_issue" || all[1].Tool != "" || all[1].Method != "prompts/get" || !all[1].Began.Equal(now) || !all[0].Began.Equal(now.Add(-time.Minute)) {
		t.Fatalf("calls: %+v", all)
	}
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{}}`, tool.ID())
	next(t, all[0])
	if left := r.Calls(); len(left) != 1 || left[0].Method != "prompts/get" {
		t.Errorf("after one answer: %+v", left)
	}
}

func TestAbandonGivesTheSlotBack(t *testing.T) {
	r, child := start(t, Config{MaxCalls: 1})
	c := call(t, r, `{"jsonrpc":"2.0","id":1,"method":"a"}`)
	sent := child.reads()
	c.Abandon("enough")
	if got := child.reads(); got.Method != "notifications/cancelled" || string(got.Param("requestId")) != string(sent.ID()) {
		t.Errorf("child read %s", got.Raw)
	}
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d calls in flight", n)
	}
	next := call(t, r, `{"jsonrpc":"2.0","id":2,"method":"b"}`)
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"a":"late"}}`, sent.ID())
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"a":"b"}}`, child.reads().ID())
	if e, err := next.Next(t.Context()); err != nil || string(e.Raw) != `{"jsonrpc":"2.0","id":2,"result":{"a":"b"}}` {
		t.Errorf("got %s, %v", e.Raw, err)
	}
}
