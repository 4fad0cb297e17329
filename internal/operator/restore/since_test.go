package restore_test

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/archive"
	"github.com/fjmcp/fjmcp-broker/internal/operator/journal"
	"github.com/fjmcp/fjmcp-broker/internal/operator/restore"
	"github.com/fjmcp/fjmcp-broker/internal/test/testjournal"
)

// manifest is of a backup that was made when the broker had written ten events.
var manifest = archive.Manifest{ID: "backupid", Made: time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC), Invocation: testjournal.Run, Event: 10}

// at is some seconds after the backup.
func at(s float64) time.Time { return manifest.Made.Add(time.Duration(s * float64(time.Second))) }

func event(s float64, number int, kind audit.Kind, fields ...string) testjournal.Entry {
	return testjournal.Event(at(s), number, string(kind), fields...)
}

// itself is the event of the backup.
func itself(number int) testjournal.Entry {
	return event(1, number, audit.BackupMade, "FJMCP_DETAIL=backupid, 1000 bytes")
}

func since(t *testing.T, entries ...testjournal.Entry) restore.Known {
	t.Helper()
	dir := t.TempDir()
	testjournal.Write(t, dir, "system.journal", entries...)
	j, err := journal.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	h := restore.NewHistory(j, manifest)
	k, err := h.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What came later is read in another journal file, on top.
	testjournal.Write(t, dir, "later.journal", event(100, 100, audit.UserBlocked, "FJMCP_USER_ID=100"))
	more, err := h.Read(t.Context())
	if err != nil || !slices.ContainsFunc(more.Steps, func(s restore.Step) bool { return s.User == "100" }) || len(more.Steps) != len(k.Steps)+1 || more.Gap == "" {
		t.Errorf("read on: %+v, %v", more, err)
	}
	return k
}

const other = "44444444444444444444444444444444"

func TestSince(t *testing.T) {
	k := since(t,
		event(-60, 9, audit.UserBlocked, "FJMCP_USER_ID=1"),
		event(-0.5, 10, audit.UserUnblocked, "FJMCP_USER_ID=1"), // in the backup
		event(0.5, 11, audit.UserBlocked, "FJMCP_USER_ID=2", "FJMCP_OPERATOR=root (uid 0)"),
		itself(12),
		event(2, 13, audit.ToolCall, "FJMCP_USER_ID=2", "FJMCP_TOOL=x"),
		event(3, 14, audit.TokenRefreshed, "FJMCP_GRANT=g", "FJMCP_GENERATION=3", "FJMCP_READ_ONLY=no"),
		event(4, 15, audit.TokenRefreshed, "FJMCP_GRANT=g", "FJMCP_GENERATION=4", "FJMCP_READ_ONLY=yes"),
		event(5, 16, audit.TokenRevoked, "FJMCP_GRANT=h", "FJMCP_DETAIL=access_token"),
		event(6, 17, audit.TokenRevoked, "FJMCP_GRANT=h", "FJMCP_DETAIL=refresh_token"),
		event(7, 18, audit.SessionStopped, "FJMCP_SESSION=s"),
		event(8, 19, audit.Disconnected, "FJMCP_USER_ID=3", "FJMCP_CLIENT_ID=c"),
		event(9, 1, audit.ClientRemoved, "FJMCP_CLIENT_ID=c").With("_SYSTEMD_INVOCATION_ID="+other), // of the next run
	)
	want := []restore.Step{
		{Kind: audit.UserBlocked, User: "2", Operator: "root (uid 0)"},
		{Kind: audit.TokenRevoked, Grant: "h", AccessOnly: true},
		{Kind: audit.TokenRevoked, Grant: "h"},
		{Kind: audit.SessionStopped, Session: "s"},
		{Kind: audit.Disconnected, User: "3", Client: "c"},
		{Kind: audit.ClientRemoved, Client: "c"},
		{Kind: audit.TokenRefreshed, Grant: "g", Generation: 4, ReadOnly: true},
	}
	if k.Gap != "" || !reflect.DeepEqual(k.Steps, want) || !k.Until.Equal(at(9)) {
		t.Errorf("gap %q, until %v\ngot  %+v\nwant %+v", k.Gap, k.Until, k.Steps, want)
	}
}

// What is missing is told, and nothing that others have written counts.
func TestSinceHasGaps(t *testing.T) {
	full := []testjournal.Entry{event(-1, 10, audit.ToolCall), itself(11), event(2, 12, audit.ToolCall), event(3, 13, audit.UserBlocked, "FJMCP_USER_ID=2")}
	if k := since(t, full...); k.Gap != "" || len(k.Steps) != 1 {
		t.Fatalf("of the whole: %+v", k)
	}
	without := func(i int) []testjournal.Entry {
		return append(append([]testjournal.Entry{}, full[:i]...), full[i+1:]...)
	}
	for name, tc := range map[string]struct {
		entries []testjournal.Entry
		want    string
	}{
		"the backup itself":     {without(1), "does not tell of this backup"},
		"all until the backup":  {full[1:], "10 events are missing"},
		"one after it":          {without(2), "1 events are missing"},
		"another's backup":      {append(without(1), itself(11).With("FJMCP_DETAIL=backupid2, 1 bytes")), "does not tell of this backup"},
		"a run before a backup": {append(without(1), itself(11).With("_SYSTEMD_INVOCATION_ID="+other)), "does not tell of this backup"},
		"the first of a run":    {append(full[:4:4], event(9, 2, audit.ToolCall).With("_SYSTEMD_INVOCATION_ID="+other)), "1 events are missing"},
		"a forged backup":       {append(without(1), itself(11).With("_SYSTEMD_UNIT=evil.service")), "does not tell of this backup"},
	} {
		if k := since(t, tc.entries...); !strings.Contains(k.Gap, tc.want) {
			t.Errorf("without %s: gap %q, want %q", name, k.Gap, tc.want)
		}
	}
	forged := event(4, 14, audit.UserRevoked, "FJMCP_USER_ID=9")
	for _, field := range []string{"_SYSTEMD_UNIT=evil.service", "_TRANSPORT=stdout", "_UID=1000"} {
		for _, step := range since(t, append(full[:4:4], forged.With(field))...).Steps {
			if step.User == "9" {
				t.Errorf("with %s a forged entry ends a user's logins", field)
			}
		}
	}
}

// Where there is no journal the lines do, that a broker wrote to standard error.
func TestSinceInLines(t *testing.T) {
	m := manifest
	m.Invocation, m.Event = "", 1
	line := func(s float64, n int, text string) string {
		return "time=" + at(s).Format(time.RFC3339Nano) + " level=INFO msg=audit " + text + " FJMCP_NUMBER=" + strconv.Itoa(n) + "\n"
	}
	all, err := journal.ReadLines(strings.NewReader(line(-2, 1, "FJMCP_EVENT=login") + line(1, 2, `FJMCP_EVENT=backup_made FJMCP_DETAIL="backupid, 7 bytes"`) + line(2, 3, "FJMCP_EVENT=user_revoked FJMCP_USER_ID=5")))
	if err != nil {
		t.Fatal(err)
	}
	k, err := restore.NewHistory(all, m).Read(t.Context())
	if err != nil || k.Gap != "" || len(k.Steps) != 1 || k.Steps[0].User != "5" {
		t.Errorf("%+v, %v", k, err)
	}
}
