package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/testjournal"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// open is a journal with those entries.
func open(t *testing.T, entries ...testjournal.Entry) *Journal {
	t.Helper()
	dir := t.TempDir()
	testjournal.Write(t, dir, "system.journal", entries...)
	j, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// numbers reads a range and returns the numbers of its events, and what is missing among
// them.
func numbers(t *testing.T, j *Journal, r Range) string {
	t.Helper()
	var said []string
	r.Missing = func(n int64, from, to time.Time) {
		said = append(said, fmt.Sprintf("(%d between %s and %s)", n, clock(from), clock(to)))
	}
	for e, err := range j.Events(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, fmt.Sprint(e.Number))
	}
	return strings.Join(said, " ")
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("15:04")
}

const mark = "forged"

// forgeries are entries that look like the broker's, each but for what its writer cannot
// choose.
func forgeries() map[string]testjournal.Entry {
	ours := testjournal.Event(at(1), 2, "tool_call", "FJMCP_USER=alice", "FJMCP_DETAIL="+mark)
	both := ours.With()
	both.Fields = append(both.Fields, "FJMCP_USER=bob")
	return map[string]testjournal.Entry{
		"a local user":                        ours.With("_SYSTEMD_UNIT=session-4.scope", "_UID=1000"),
		"a local user who names the unit":     ours.With("_SYSTEMD_UNIT=session-4.scope", "_UID=1000", "UNIT=fjmcp-broker.service", "SYSTEMD_UNIT=fjmcp-broker.service", "OBJECT_SYSTEMD_UNIT=fjmcp-broker.service"),
		"a unit of that name of a user":       ours.With("_SYSTEMD_UNIT=user@1000.service", "_SYSTEMD_USER_UNIT=fjmcp-broker.service", "_UID=1000"),
		"a process without a unit":            ours.With("_SYSTEMD_UNIT"),
		"a session":                           ours.With("_SYSTEMD_UNIT=fjmcp-session@x.service", "_UID=61000"),
		"a unit with a similar name":          ours.With("_SYSTEMD_UNIT=fjmcp-broker.service.service"),
		"a unit with another case":            ours.With("_SYSTEMD_UNIT=FJMCP-broker.service"),
		"a line of output":                    ours.With("_TRANSPORT=stdout"),
		"syslog":                              ours.With("_TRANSPORT=syslog"),
		"the manager":                         ours.With("_SYSTEMD_UNIT=init.scope", "_UID=0", "UNIT=fjmcp-broker.service"),
		"a core dump":                         ours.With("_SYSTEMD_UNIT=systemd-coredump@1.service", "_UID=0", "COREDUMP_UNIT=fjmcp-broker.service"),
		"a process that had the broker's pid": ours.With("_UID=1000"),
		"root before it became the broker":    ours.With("_UID=0"),
		"nobody":                              ours.With("_UID"),
		"two users in one":                    both,
		"an event with a line break":          ours.With("FJMCP_EVENT=login\nFJMCP_EVENT=tool_call"),
		"a number that is none":               ours.With("FJMCP_NUMBER=-"),
		"a time that is none":                 ours.With("FJMCP_TIME=yesterday"),
		"more than the broker writes":         ours.With("FJMCP_TOOL=" + strings.Repeat("x", 5000)),
	}
}

// Beside each forged entry stands an event of ours. All that is read is that.
func TestForgeriesDoNotShow(t *testing.T) {
	all := []testjournal.Entry{testjournal.Event(at(0), 1, "login", "FJMCP_USER=alice")}
	for _, e := range forgeries() {
		all = append(all, e)
	}
	all = append(all, testjournal.Event(at(2), 2, "login", "FJMCP_USER=alice"))
	j := open(t, all...)
	for _, r := range []Range{{}, {Reverse: true}, {Since: at(-1), Until: at(3)}} {
		j.refused = 0
		count := 0
		for e, err := range j.Events(t.Context(), r) {
			if count++; err != nil || e.Detail == mark || e.User != "alice" || e.Kind != "login" {
				t.Errorf("%+v, %v", e, err)
			}
		}
		if count != 2 {
			t.Errorf("%d events", count)
		}
	}
	if said, want := j.Doubts(), "left out: entries of fjmcp-broker.service that the user fjmcp did not write, or not as a broker does: 8"; len(said) != 1 || said[0] != want {
		t.Errorf("said is %q", said)
	}
	for name, e := range forgeries() {
		if got := numbers(t, open(t, testjournal.Event(at(0), 1, "login"), e), Range{}); got != "1" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A uid that is known is the only one to be believed.
func TestBrokersUID(t *testing.T) {
	j := open(t, testjournal.Event(at(0), 1, "login"), testjournal.Event(at(1), 2, "login", "FJMCP_DETAIL="+mark).With("_UID=991"))
	j.uid = testjournal.UID
	if got := numbers(t, j, Range{}); got != "1" {
		t.Error(got)
	}
}

// The files of a container may lie beside the machine's; its root names units as it likes.
func TestOneMachineAtATime(t *testing.T) {
	dir := t.TempDir()
	testjournal.Write(t, dir, "system.journal", testjournal.Event(at(0), 1, "login"))
	testjournal.Write(t, dir, "remote.journal", testjournal.Event(at(1), 2, "login").With("_MACHINE_ID=44444444444444444444444444444444"))
	if _, err := Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "several machines") {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	event := func(minute, number int) testjournal.Entry { return testjournal.Event(at(minute), number, "tool_call") }
	other := func(e testjournal.Entry) testjournal.Entry {
		return e.With("_SYSTEMD_INVOCATION_ID=" + strings.Repeat("5", 32))
	}
	late := event(6, 9)
	late.Written = at(50)
	old := event(-9, 0).With("FJMCP_NUMBER", "FJMCP_TIME") // of a broker before 0.3.0
	all := []testjournal.Entry{old, event(1, 3), event(2, 4), event(4, 7), event(5, 8), late, event(51, 10), other(event(60, 2)), other(event(61, 3))}
	for _, tt := range []struct {
		name, want string
		entries    []testjournal.Entry
		r          Range
	}{
		{"all", "0 (2 between 11:51 and 12:01) 3 4 (2 between 12:02 and 12:04) 7 8 9 10 (1 between 12:51 and 13:00) 2 3", all, Range{}},
		{"backward", "3 2 (1 between 12:51 and 13:00) 10 9 8 7 (2 between 12:02 and 12:04) 4 3 (2 between 11:51 and 12:01) 0", all, Range{Reverse: true}},
		{"vacuumed", "(2 between never and 12:01) 3 4", all[1:3], Range{}},
		{"vacuumed, backward", "4 3 (2 between never and 12:01)", all[1:3], Range{Reverse: true}},
		{"from the midst", "4 (2 between 12:02 and 12:04) 7 8 9 10 (1 between 12:51 and 13:00) 2 3", all, Range{Since: at(2)}},
		{"from the midst of a gap", "(2 between 12:02 and 12:04) 7 8 9 10 (1 between 12:51 and 13:00) 2 3", all, Range{Since: at(3)}},
		{"from the midst of a gap, backward", "3 2 (1 between 12:51 and 13:00) 10 9 8 7 (2 between 12:02 and 12:04)", all, Range{Since: at(3), Reverse: true}},
		{"to the midst of a gap", "0 (2 between 11:51 and 12:01) 3 4 (2 between 12:02 and 12:04)", all, Range{Until: at(3)}},
		{"late ones count when they happened", "8 9", all, Range{Since: at(5), Until: at(7)}},
		{"a moment", "9", all, Range{Since: at(6), Until: at(6)}},
		{"a moment, backward", "9", all, Range{Since: at(6), Until: at(6), Reverse: true}},
		{"nothing", "", all, Range{Since: at(70)}},
	} {
		if got := numbers(t, open(t, tt.entries...), tt.r); got != tt.want {
			t.Errorf("%s: got  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// What was rotated away is another file; a reader that has enough ends journalctl.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	testjournal.Write(t, dir, "system@1.journal", testjournal.Event(at(0), 1, "login"), testjournal.Event(at(1), 2, "login"))
	testjournal.Write(t, dir, "system.journal", testjournal.Event(at(2), 3, "login"))
	j, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, j, Range{}); got != "1 2 3" {
		t.Error(got)
	}
	begins, err := j.Begins(t.Context())
	if err != nil || !begins.Equal(at(0)) {
		t.Error(begins, err)
	}
	var first Event
	for e, err := range j.Events(t.Context(), Range{}) {
		if first = e; err != nil {
			t.Fatal(err)
		}
		break
	}
	if got := numbers(t, j, Range{After: &first}); got != "2 3" {
		t.Error(got)
	}
}

// Following goes on across a new file, and ends with its context, without an error.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	testjournal.Write(t, dir, "system@1.journal", testjournal.Event(at(0), 1, "login"))
	j, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []int64
	for e, err := range j.Events(ctx, Range{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		switch got = append(got, e.Number); e.Number {
		case 1:
			testjournal.Write(t, dir, "system.journal", testjournal.Event(at(1), 2, "login"))
		case 2:
			cancel()
		}
	}
	if !slices.Equal(got, []int64{1, 2}) {
		t.Error(got)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	if _, err := Open(t.Context(), t.TempDir()); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadDir(closed); errors.Is(err, fs.ErrPermission) { // else this is root
		if _, err := Open(t.Context(), closed); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "systemd-journal") {
			t.Error(err)
		}
	}
	t.Setenv("PATH", "")
	if _, err := Open(t.Context(), ""); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

// Files that journalctl puts in another order, since a clock was set back between them, tell
// of one gap at most.
func TestOutOfOrder(t *testing.T) {
	for reverse, order := range map[bool][]int64{false: {1, 3, 2, 4}, true: {4, 2, 3, 1}} {
		var missing []int64
		r := Range{Reverse: reverse, Missing: func(n int64, _, _ time.Time) { missing = append(missing, n) }}
		for range r.window(Event{}, func(yield func(Event, error) bool) {
			for _, n := range order {
				if !yield(Event{Run: "r", Number: n}, nil) {
					return
				}
			}
		}) {
		}
		if len(missing) != 1 || missing[0] != 1 {
			t.Errorf("reverse %v: %v are missing", reverse, missing)
		}
	}
}
