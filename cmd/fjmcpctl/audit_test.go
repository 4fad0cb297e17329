package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/journal"
	"github.com/fjmcp/fjmcp-broker/internal/test/testjournal"
)

// TestAuditScripts runs testdata/audit/*.txt; $JOURNAL is a directory of journal files
// with events, and beside each of them what somebody has forged; $LINES is a file of a
// broker without a journal.
func TestAuditScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/audit", Setup: func(env *testscript.Env) error {
		env.Setenv("TZ", "UTC")
		env.Setenv("NEWLINE", "a\nb")
		env.Setenv("JOURNAL", filepath.Join(env.WorkDir, "--root=x\n"))
		return nil
	}, Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "writejournal": func(ts *testscript.TestScript, _ bool, _ []string) {
		dir := ts.Getenv("JOURNAL")
		ts.Check(os.Mkdir(dir, 0o755))
		testjournal.Write(t, dir, "system.journal", auditEvents()...)
	}}})
}

// auditEvents are those of some minutes. User 7 was alice, and is alicia from the seventh
// event on, and 9 has taken that name.
func auditEvents() (all []testjournal.Entry) {
	at := func(minutes int) time.Time { return time.Date(2026, 11, 30, 12, minutes, 0, 0, time.UTC) }
	alice, claude := "FJMCP_USER=alice", "FJMCP_CLIENT=Claude"
	for _, e := range []testjournal.Entry{
		testjournal.Event(at(1), 1, "login", alice, "FJMCP_USER_ID=7", claude, "FJMCP_CLIENT_ID=c1", "FJMCP_READ_ONLY=no", "FJMCP_ADDRESS=192.0.2.1"),
		testjournal.Event(at(2), 2, "tool_call", alice, "FJMCP_USER_ID=7", claude, "FJMCP_CLIENT_ID=c1", "FJMCP_SESSION=aa11111111111111",
			"FJMCP_TOOL=create_issue", "FJMCP_REPO=alice/site", "FJMCP_ISSUE=3", "FJMCP_OUTCOME=ok", "FJMCP_DURATION_USEC=1234567", "FJMCP_ARGUMENTS_BYTES=20", "FJMCP_RESULT_BYTES=30"),
		testjournal.Event(at(3), 3, "login", "FJMCP_USER=bob", "FJMCP_USER_ID=8", "FJMCP_CLIENT=VS Code "+strings.Repeat("x", 60), "FJMCP_CLIENT_ID=c2"),
		testjournal.Event(at(6), 6, "tool_call", "FJMCP_USER=bob", "FJMCP_USER_ID=8", "FJMCP_CLIENT=VS Code", "FJMCP_CLIENT_ID=c2", "FJMCP_SESSION=bb22222222222222",
			"FJMCP_TOOL=search", "FJMCP_REPOS_SEEN=alice/site bob/x", "FJMCP_REPOS_POSSIBLE=carol/y +", "FJMCP_OUTCOME=error", "PRIORITY=4", "FJMCP_DURATION_USEC=1234"),
		testjournal.Event(at(7), 7, "login", "FJMCP_USER=alicia", "FJMCP_USER_ID=7", claude, "FJMCP_CLIENT_ID=c1"),
		testjournal.Event(at(8), 8, "login", "FJMCP_USER=Alice", "FJMCP_USER_ID=9", claude, "FJMCP_CLIENT_ID=c3"),
		testjournal.Event(at(9), 9, "session_stopped", "FJMCP_USER=alicia", "FJMCP_USER_ID=7", claude, "FJMCP_CLIENT_ID=c1", "FJMCP_SESSION=aa11111111111111",
			"FJMCP_OUTCOME=operator", "FJMCP_OPERATOR=root (uid 0)"),
	} {
		all = append(all, e, e.With("FJMCP_DETAIL=forged", "_SYSTEMD_UNIT=session-4.scope", "_UID=1000"), e.With("FJMCP_DETAIL=forged", "_TRANSPORT=stdout"))
	}
	return all
}

// What is longer than a column, or wider than the terminal, ends with a mark.
func TestAuditLinesAreCut(t *testing.T) {
	for _, width := range []int{0, 60} {
		var out bytes.Buffer
		p := newAuditPrinter(&out, &out)
		p.width = width
		p.print(auditItem{event: journal.Event{Kind: audit.ToolCall, User: strings.Repeat("ü", 100), Detail: strings.Repeat("d", 300)}})
		p.print(auditItem{note: strings.Repeat("n", 300)})
		_ = p.out.Flush()
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); width > 0 && n > width || width == 0 && strings.Contains(line, "ü") && !strings.Contains(line, strings.Repeat("ü", cellWidth-1)+"…  ") {
				t.Errorf("width %d: %q", width, line)
			}
		}
	}
}

// A reader that is told to end, as by Ctrl-C, has not failed.
func TestAuditFollowEnds(t *testing.T) {
	dir := t.TempDir()
	testjournal.Write(t, dir, "system.journal", auditEvents()...)
	o := &auditOptions{lines: -1, directory: dir, follow: true}
	if err := o.check(time.Now()); err != nil {
		t.Fatal(err)
	}
	all, err := journal.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var shown []int64
	r := &auditReader{auditOptions: o, all: all, began: time.Now(), show: func(i auditItem) {
		shown = append(shown, i.event.Number)
		switch i.event.Number {
		case 9:
			testjournal.Write(t, dir, "system@1.journal", testjournal.Event(time.Date(2026, 11, 30, 12, 10, 0, 0, time.UTC), 11, "drained"))
		case 11:
			cancel()
		}
	}}
	if err := r.read(ctx); err != nil {
		t.Fatal(err)
	}
	if len(shown) != 10 || shown[7] != 9 || shown[8] != 0 || shown[9] != 11 { // 0 are what is missing
		t.Errorf("%v", shown)
	}
}
