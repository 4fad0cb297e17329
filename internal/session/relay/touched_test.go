package relay

import (
	"fmt"
	"strings"
	"testing"
)

// What the child turns to is a call's for sure only while it works on no other call.
func TestTouched(t *testing.T) {
	var told []string
	var r *Relay
	r, child := start(t, Config{Answering: func() {
		for _, word := range told {
			r.Touch(word)
		}
		told = nil
	}})
	first, _ := tool(t, r, child, "1")
	r.Touch("a/b")
	r.Touch("a/b")
	second, other := tool(t, r, child, "2")
	r.Touch("c/d")
	told = []string{"e/f"} // not looked at before the answer comes
	child.writes(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, other)
	next(t, second)
	r.Touch("g/h")
	for c, want := range map[*Call]Touched{first: {"a/b g/h", "c/d e/f"}, second: {"", "c/d e/f"}} {
		if got := c.Touched(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	first.Abandon("nobody waits") // the child may still work on it
	third, _ := tool(t, r, child, "3")
	r.Touch("i/j")
	if got := third.Touched(); got != (Touched{Maybe: "i/j"}) {
		t.Errorf("got %+v", got)
	}
}

func TestTouchedIsBounded(t *testing.T) {
	r, child := start(t, Config{})
	c, _ := tool(t, r, child, "1")
	for i := range 1000 {
		r.Touch(fmt.Sprintf("owner/repository-%d", i))
	}
	got := c.Touched().Sure
	if len(got) > maxTouched+2 || !strings.HasPrefix(got, "owner/repository-0 owner/repository-1 ") || !strings.HasSuffix(got, " +") {
		t.Errorf("got %q", got)
	}
	d, _ := tool(t, r, child, "2")
	r.Touch("")
	if got := d.Touched().Maybe; got != "+" {
		t.Errorf("got %q", got)
	}
}

// What is known of a call comes along to the next process.
func TestTouchedIsHandedOver(t *testing.T) {
	r, child := start(t, Config{})
	c, _ := tool(t, r, child, "1")
	c.SetTag("x")
	c.SetNote(map[string]string{"of": "the owner"})
	r.Touch("a/b")
	r = handOver(t, r, Config{})
	c = restored(t, r, "x")
	r.Touch("c/d")
	if got := c.Touched(); got != (Touched{Sure: "a/b c/d"}) || string(c.Note()) != `{"of":"the owner"}` {
		t.Errorf("got %+v, %s", got, c.Note())
	}
}
