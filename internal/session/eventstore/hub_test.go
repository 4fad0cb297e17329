package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func texts(events []Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.ID[nameLength+1:]+"="+string(e.Raw))
	}
	return strings.Join(all, " ")
}

// told takes what f has to tell and confirms it.
func told(f *Follower) string {
	events, _, _ := f.Read()
	f.Told()
	return texts(events)
}

// bytes is a message that counts for n.
func bytes(n int, c string) []byte { return []byte(strings.Repeat(c, n-overhead)) }

func TestResumeGoesOnAfterTheEvent(t *testing.T) {
	h := NewHub(1000)
	a, b := h.NewLog(""), h.NewLog("")
	for i := range 3 {
		a.Append(fmt.Appendf(nil, "a%d", i))
		b.Append(fmt.Appendf(nil, "b%d", i))
	}
	b.Close()
	l, next, ok := h.After(h.name + "-2-0")
	if !ok {
		t.Fatal("not found")
	}
	events, done, _ := l.Follow(next).Read()
	if got := texts(events); got != "2-1=b1 2-2=b2" || !done {
		t.Fatalf("got %q, %v", got, done)
	}
	for _, id := range []string{"", "x", "1", "9-0", "2-3", "2--1", "-1-0"} {
		if _, _, ok := h.After(h.name + "-" + id); ok {
			t.Errorf("%q was found", id)
		}
	}
}

// The id of an event of another Hub names none of this one's streams, but still
// tells what its stream was.
func TestEventIDsAreOfOneHub(t *testing.T) {
	before, now := NewHub(1000), NewHub(1000)
	for _, h := range []*Hub{before, now} {
		h.NewLog("MQ-_").Append([]byte("a"))
	}
	events, _, _ := before.Log(1).Follow(0).Read()
	if _, _, ok := now.After(events[0].ID); ok {
		t.Errorf("%q was found", events[0].ID)
	}
	if _, next, ok := before.After(events[0].ID); !ok || next != 1 {
		t.Errorf("%q: %d, %v", events[0].ID, next, ok)
	}
	if got := Label(events[0].ID); got != "MQ-_" {
		t.Errorf("label %q", got)
	}
	if got := Label(before.name + "-0-0"); got != "" {
		t.Errorf("label %q of a stream without", got)
	}
}

// What finished streams hold beside their responses goes first, then the oldest
// finished streams, then the oldest messages of those that run.
func TestMemoryIsBounded(t *testing.T) {
	h := NewHub(1000)
	finished, running := h.NewLog(""), h.NewLog("")
	finished.Append(bytes(300, "p"))
	finished.Append(bytes(300, "r"))
	finished.Close()
	running.Append(bytes(500, "a"))
	if _, next, ok := h.After(h.name + "-1-0"); !ok || len(told(finished.Follow(next))) != 300-overhead+4 {
		t.Error("the response of the finished stream was forgotten")
	}
	for f := range finished.followers {
		f.Close()
	}
	running.Append(bytes(400, "b"))
	if h.Log(1) != nil {
		t.Error("the finished stream was kept")
	}
	running.Append(bytes(500, "c"))
	if got := told(running.Follow(0)); strings.ContainsRune(got, 'a') || !strings.Contains(got, "2-1=b") || !strings.Contains(got, "2-2=c") {
		t.Errorf("got %q", got)
	}
	for range 3 * maxLogs {
		h.NewLog("").Close()
	}
	if n := len(h.logs); n > maxLogs+1 {
		t.Errorf("%d streams are remembered", n)
	}
}

// A response over the limit reaches the follower that is there, and is not kept
// for one that may come.
func TestLargeResponse(t *testing.T) {
	for _, followed := range []bool{true, false} {
		h := NewHub(1000)
		l := h.NewLog("")
		var f *Follower
		if followed {
			f = l.Follow(0)
		}
		if err := l.Write(t.Context(), bytes(5000, "r")); err != nil {
			t.Fatal(err)
		}
		l.Close()
		h.NewLog("").Append(bytes(900, "x"))
		if followed {
			if got := told(f); len(got) < 4900 {
				t.Errorf("the follower got %d bytes", len(got))
			}
			f.Close()
		}
		if h.bytes > 1000 || h.owed != 0 {
			t.Errorf("followed %v: %d bytes are kept, %d owed", followed, h.bytes, h.owed)
		}
	}
}

// A writer waits for a follower that does not keep up; one without a follower, and
// one whose follower has nothing to wait for, go on.
func TestWriterWaitsForItsFollower(t *testing.T) {
	h := NewHub(1000)
	slow, other, alone := h.NewLog(""), h.NewLog(""), h.NewLog("")
	f, g := slow.Follow(0), other.Follow(0)
	_ = slow.Write(t.Context(), bytes(900, "a"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := slow.Write(ended, bytes(900, "b")); !errors.Is(err, context.Canceled) {
		t.Fatalf("a message over the limit: %v", err)
	}
	if slow.Append(bytes(900, "c")) {
		t.Error("appended over the limit")
	}
	for _, l := range []*Log{other, alone} {
		if err := l.Write(ended, bytes(900, "d")); err != nil {
			t.Errorf("another stream: %v", err)
		}
	}
	written := make(chan error)
	for _, free := range []func(){func() { told(f); told(g) }, f.Close} {
		go func() { written <- slow.Write(t.Context(), bytes(900, "e")) }()
		free()
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever is written in whatever sizes to whom, a follower that stays is told all,
// in order, and memory is what followers are owed and the limit.
func TestFollowersSeeEverythingOnce(t *testing.T) {
	const messages = 1000
	h := NewHub(2000)
	var followers sync.WaitGroup
	for range 4 {
		l := h.NewLog("")
		f := l.Follow(0)
		followers.Go(func() {
			defer f.Close()
			for seen := 0; ; {
				events, done, changed := f.Read()
				for _, e := range events {
					if !strings.HasPrefix(string(e.Raw), fmt.Sprint(seen, " ")) {
						t.Errorf("got %s, want %d", e.Raw, seen)
						return
					}
					seen++
				}
				if f.Told(); done {
					if seen != messages {
						t.Errorf("saw %d", seen)
					}
					return
				}
				<-changed
			}
		})
		followers.Go(func() {
			for i := range messages {
				if err := l.Write(t.Context(), fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", i))); err != nil {
					t.Error(err)
				}
			}
			l.Close()
		})
	}
	followers.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.owed != 0 || h.bytes > h.limit {
		t.Errorf("%d bytes are owed, %d kept", h.owed, h.bytes)
	}
}

// A message of the Hub's own stream goes to one listener, the latest, and waits
// for one when there is none. What a listener did not write the next one gets.
func TestOneListenerAtATime(t *testing.T) {
	h := NewHub(1000)
	h.Own().Append([]byte("early"))
	if h.Heard() {
		t.Error("heard by nobody")
	}
	first := h.Listen(-1)
	if got := told(first); got != "0-0=early" {
		t.Fatalf("the first listener got %q", got)
	}
	h.Own().Append([]byte("late"))
	first.Read()
	second := h.Listen(-1)
	<-first.Replaced()
	first.Close()
	if got := told(second); !h.Heard() || got != "0-1=late" {
		t.Errorf("heard %v, %q; want what was not told", h.Heard(), got)
	}
	second.Close()
	if h.Heard() {
		t.Error("heard by nobody")
	}
	if got := told(h.Listen(0)); got != "0-0=early 0-1=late" {
		t.Errorf("a resumed listener got %q", got)
	}
}

func TestSavedHubGoesOn(t *testing.T) {
	h := NewHub(1000)
	h.Own().Append([]byte("own"))
	told(h.Listen(-1))
	open, finished := h.NewLog(""), h.NewLog("")
	open.Append(nil)
	open.Append([]byte("a\xff"))
	finished.Append([]byte("r"))
	finished.Close()
	raw, err := json.Marshal(h.Save())
	if err != nil {
		t.Fatal(err)
	}
	var saved Saved
	if err := json.Unmarshal(raw, &saved); err != nil {
		t.Fatal(err)
	}
	again, err := Restore(1000, saved)
	if err != nil {
		t.Fatal(err)
	}
	again.Log(open.ID()).Append([]byte("b"))
	for id, want := range map[string]string{"1-0": "1-1=a\xff 1-2=b", "2-0": "", "0-0": ""} {
		l, next, ok := again.After(h.name + "-" + id)
		if !ok {
			t.Fatalf("%s was not found", id)
		}
		events, done, _ := l.Follow(next).Read()
		if got := texts(events); got != want || done != (id == "2-0") {
			t.Errorf("after %s: %q, %v", id, got, done)
		}
	}
	if got := told(again.Listen(-1)); got != "" {
		t.Errorf("the listener was told %q again", got)
	}
	if id := again.NewLog("").ID(); id != 3 {
		t.Errorf("a new stream has id %d", id)
	}
	for _, bad := range []Saved{{}, {Logs: []SavedLog{{ID: 0}, {ID: 0}}}, {Logs: []SavedLog{{ID: 0, First: -1}}}} {
		if _, err := Restore(1000, bad); err == nil {
			t.Errorf("restored %+v", bad)
		}
	}
}
