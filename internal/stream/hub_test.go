package stream

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func texts(events []Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.ID+"="+string(e.Raw))
	}
	return strings.Join(all, " ")
}

func TestResumeGoesOnAfterTheEvent(t *testing.T) {
	h := NewHub(1000)
	a, b := h.Open(), h.Open()
	for i := range 3 {
		a.Append(fmt.Appendf(nil, "a%d", i))
		b.Append(fmt.Appendf(nil, "b%d", i))
	}
	b.Close()
	l, next, ok := h.Resume("2-0")
	if !ok {
		t.Fatal("not found")
	}
	events, after, done, _ := l.From(next)
	if got := texts(events); got != "2-1=b1 2-2=b2" || after != 3 || !done {
		t.Fatalf("got %q, %d, %v", got, after, done)
	}
	for _, id := range []string{"", "x", "1", "9-0", "2-3", "2--1", "-1-0"} {
		if _, _, ok := h.Resume(id); ok {
			t.Errorf("%q was found", id)
		}
	}
}

// Finished streams go first, then the oldest messages of those that run.
func TestMemoryIsBounded(t *testing.T) {
	h := NewHub(10)
	finished, running := h.Open(), h.Open()
	finished.Append([]byte("12345"))
	finished.Close()
	running.Append([]byte("abcde"))
	running.Append([]byte("fghij"))
	if _, _, ok := h.Resume("1-0"); ok {
		t.Error("the finished stream was kept")
	}
	running.Append([]byte("k"))
	events, after, _, _ := running.From(0)
	if got := texts(events); got != "2-1=fghij 2-2=k" || after != 3 {
		t.Errorf("got %q, %d", got, after)
	}
	for range 3 * maxLogs {
		h.Open().Close()
	}
	if n := len(h.logs); n > maxLogs+1 {
		t.Errorf("%d streams are remembered", n)
	}
}

func TestFollowersSeeEverythingOnce(t *testing.T) {
	const messages = 1000
	l := NewHub(1 << 20).Open()
	var followers sync.WaitGroup
	for range 4 {
		followers.Go(func() {
			for next, seen := 0, 0; ; {
				events, after, done, changed := l.From(next)
				for _, e := range events {
					if string(e.Raw) != fmt.Sprint(seen) {
						t.Errorf("got %s, want %d", e.Raw, seen)
						return
					}
					seen++
				}
				if next = after; done {
					if seen != messages {
						t.Errorf("saw %d", seen)
					}
					return
				}
				<-changed
			}
		})
	}
	for i := range messages {
		l.Append(fmt.Append(nil, i))
	}
	l.Close()
	followers.Wait()
}

// A message of the Hub's own stream goes to one listener, the latest, and waits
// for one when there is none.
func TestOneListenerAtATime(t *testing.T) {
	h := NewHub(1000)
	h.Own().Append([]byte("early"))
	if h.Heard() {
		t.Error("heard by nobody")
	}
	first := h.Listen()
	events, next, _, _ := h.Own().From(first.Next)
	if got := texts(events); got != "0-0=early" {
		t.Fatalf("the first listener got %q", got)
	}
	first.Told(next)
	second := h.Listen()
	<-first.Replaced
	first.Leave()
	if !h.Heard() || second.Next != 1 {
		t.Errorf("heard %v, from %d; want after what was told", h.Heard(), second.Next)
	}
	second.Leave()
	if h.Heard() {
		t.Error("heard by nobody")
	}
}
