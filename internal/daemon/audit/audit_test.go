package audit

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/journal"
)

// recording is a Logger to the journal that keeps the latest entry in got, with what is
// no field of ours, and its priority.
func recording(got *map[string]string, pri *journal.Priority) *Logger {
	return &Logger{send: func(m string, p journal.Priority, f map[string]string) error {
		if f["MESSAGE"] = m; pri != nil {
			*pri = p
		}
		*got = f
		return nil
	}}
}

func TestEventCarriesItsFields(t *testing.T) {
	var got map[string]string
	var pri journal.Priority
	l := recording(&got, &pri)
	l.Event(context.Background(), Event{Kind: ToolCall, User: "alice", Session: "s1", Tool: "create_issue", Failed: true})
	want := map[string]string{"FJMCP_EVENT": "tool_call", "FJMCP_USER": "alice", "FJMCP_SESSION": "s1", "FJMCP_TOOL": "create_issue", "MESSAGE_ID": messageIDs[ToolCall], "MESSAGE": got["MESSAGE"]}
	if len(got) != len(want) {
		t.Fatalf("fields = %v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %q, want %q", k, got[k], v)
		}
	}
	if pri != journal.PriWarning {
		t.Errorf("priority = %v, want warning", pri)
	}
}

// A refused journal entry must not vanish, and a client's name must not forge a line.
func TestEventFallsBackToText(t *testing.T) {
	var out bytes.Buffer
	l := New(&out)
	l.Event(context.Background(), Event{Kind: LoginSucceeded, Client: "evil\nlevel=INFO msg=\"login\" FJMCP_USER=root"})
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Fatalf("wrote %d lines, want 1:\n%s", n, out.String())
	}
}

func TestCleanBoundsLength(t *testing.T) {
	got := Clean(strings.Repeat("é", 300))
	if len(got) > maxField || !utf8.ValidString(got) {
		t.Fatalf("Clean gave %d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}

// What an operator causes names the operator, whoever writes the event.
func TestEventNamesTheOperator(t *testing.T) {
	var got map[string]string
	l := recording(&got, nil)
	ctx := By(context.Background(), "alice (uid 1000)")
	l.Event(context.WithoutCancel(ctx), Event{Kind: SessionStopped, User: "bob"})
	if got["FJMCP_OPERATOR"] != "alice (uid 1000)" || !strings.Contains(got["MESSAGE"], `operator="alice (uid 1000)"`) {
		t.Errorf("%v", got)
	}
	l.Event(context.Background(), Event{Kind: SessionStopped, User: "bob"})
	if _, named := got["FJMCP_OPERATOR"]; named {
		t.Errorf("an event of no operator: %v", got)
	}
}
