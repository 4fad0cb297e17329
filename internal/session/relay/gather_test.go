package relay

import "testing"

// What a child asks at once belongs to one call, also when others wait for their
// turn or for their clients: the turn passes on when the child has asked no more
// for a while.
func TestQuestionsAtOnceBelongToOneCall(t *testing.T) {
	clock := &clock{}
	r, child := start(t, Config{AfterFunc: clock.after})
	parked := call(t, r, `{"jsonrpc":"2.0","id":"parked","method":"tools/call","params":{"name":"t"}}`)
	child.reads()
	child.writes(`{"jsonrpc":"2.0","id":"q0","method":"roots/list"}`)
	next(t, parked)
	clock.fire()
	a := call(t, r, `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t"}}`)
	child.reads()
	begun := make(chan *Call, 1)
	m := message(t, `{"jsonrpc":"2.0","id":"b","method":"tools/call","params":{"name":"t"}}`)
	go func() {
		b, _ := r.Start(t.Context(), m)
		begun <- b
	}()
	var keys []string
	for _, id := range []string{"q1", "q2"} {
		child.writes(`{"jsonrpc":"2.0","id":"%s","method":"roots/list"}`, id)
		e, err := a.Next(t.Context())
		if err != nil || e.Question == "" {
			t.Fatalf("%s: got %s, %v", id, e.Raw, err)
		}
		keys = append(keys, e.Question)
	}
	// An answer that comes before the turn has passed on does not wait for it.
	for _, key := range keys {
		if err := r.Respond(message(t, `{"jsonrpc":"2.0","id":"`+key+`","result":{}}`)); err != nil {
			t.Fatal(err)
		}
		child.reads()
	}
	clock.fire()
	child.writes(`{"jsonrpc":"2.0","id":"q3","method":"roots/list"}`)
	next(t, a)
	select {
	case <-begun:
		t.Fatal("a call began while another had the turn")
	default:
	}
	clock.fire()
	if b := <-begun; b == nil || child.reads().Method != "tools/call" {
		t.Fatal("the turn did not pass on")
	}
}
