package journal

import (
	"iter"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
)

func TestFilter(t *testing.T) {
	e := Event{Kind: audit.ToolCall, User: "Alice", UserID: "7", Client: "Some Editor", ClientID: "abc", Session: "s1", Tool: "t", Repo: "a/b",
		ReposSeen: []string{"c/d"}, ReposPossible: []string{"e/f", "+"}, Outcome: "ok", Rule: "no-wiki"}
	failed, old := e, e
	failed.Failed = true
	old.UserID = "" // of a broker before 0.3.0
	for _, tt := range []struct {
		f                Filter
		e, failed, olden bool
	}{
		{Filter{}, true, true, true},
		{Filter{User: "alice"}, true, true, true},
		{Filter{User: "alic"}, false, false, false},
		{Filter{User: "alice", UserID: "7"}, true, true, true},
		{Filter{User: "alice", UserID: "8"}, false, false, true}, // whose it is nobody knows
		{Filter{UserID: "7"}, true, true, false},
		{Filter{UserID: "8"}, false, false, false},
		{Filter{Client: "some editor"}, true, true, true},
		{Filter{Client: "abc.and what it registered"}, true, true, true},
		{Filter{Client: "ABC"}, false, false, false},
		{Filter{Session: "s1"}, true, true, true},
		{Filter{Session: "s"}, false, false, false},
		{Filter{Tool: "t", Outcome: "ok"}, true, true, true},
		{Filter{Tool: "T"}, false, false, false},
		{Filter{Rule: "no-wiki"}, true, true, true},
		{Filter{Rule: "no"}, false, false, false},
		{Filter{Outcome: "error"}, false, false, false},
		{Filter{Failed: true}, false, true, false},
		{Filter{Repo: "A/B"}, true, true, true},
		{Filter{Repo: "c/D"}, true, true, true},
		{Filter{Repo: "e/f"}, true, true, true},
		{Filter{Repo: "a"}, false, false, false},
		{Filter{Kinds: []audit.Kind{audit.LoginFailed, audit.ToolCall}}, true, true, true},
		{Filter{Kinds: []audit.Kind{audit.LoginFailed}}, false, false, false},
	} {
		if got := [3]bool{tt.f.Match(e), tt.f.Match(failed), tt.f.Match(old)}; got != [3]bool{tt.e, tt.failed, tt.olden} {
			t.Errorf("%+v: %v", tt.f, got)
		}
	}
	if none := (Event{Kind: audit.RateLimited}); (&Filter{Client: ".x"}).Match(none) || (&Filter{Repo: "+"}).Match(none) {
		t.Error("an event without a client is a client's")
	}
}

// A name is whose it was last.
func TestBearer(t *testing.T) {
	newestFirst := func(yield func(Event, error) bool) {
		for _, e := range []Event{{User: "bob", UserID: "9"}, {User: "Alice"}, {User: "Alice", UserID: "8"}, {User: "alice", UserID: "7"}} {
			if !yield(e, nil) {
				return
			}
		}
	}
	for name, want := range map[string]string{"ALICE": "8", "bob": "9", "carol": ""} {
		if id, err := Bearer(iter.Seq2[Event, error](newestFirst), name); id != want || err != nil {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
}
