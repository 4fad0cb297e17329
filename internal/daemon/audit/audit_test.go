package audit

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// recording is a Logger to the journal that keeps the latest entry in got.
func recording(got *map[string]string) *Logger {
	return newLogger(true, func(text []byte) error { *got = parse(string(text)); return nil })
}

// parse reads an entry as journald does.
func parse(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		fields[name] = value
	}
	return fields
}

func TestEventCarriesItsFields(t *testing.T) {
	var got map[string]string
	l := recording(&got)
	l.now = func() time.Time { return time.Date(2026, 11, 30, 9, 0, 0, 1000, time.FixedZone("", 3600)) }
	l.Event(context.Background(), Event{Kind: ToolCall, User: "alice", Session: "s1", Tool: "create_issue", Failed: true})
	want := map[string]string{"FJMCP_EVENT": "tool_call", "FJMCP_USER": "alice", "FJMCP_SESSION": "s1", "FJMCP_TOOL": "create_issue", "FJMCP_NUMBER": "1",
		"MESSAGE_ID": messageIDs[ToolCall], "FJMCP_TIME": "2026-11-30T08:00:00.000001Z", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "fjmcp-broker",
		"MESSAGE": `tool call user="alice" session="s1" tool="create_issue"`}
	if len(got) != len(want) {
		t.Fatalf("fields = %v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %q, want %q", k, got[k], v)
		}
	}
}

// A client's name must not forge a line.
func TestEventIsOneLine(t *testing.T) {
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
	l := recording(&got)
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
