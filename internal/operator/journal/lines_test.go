package journal

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
	"github.com/fjmcp/fjmcp-broker/internal/test/testjournal"
)

// writtenLines is what a broker without a journal writes of events, each with every field there is.
func writtenLines(values ...string) string {
	var out bytes.Buffer
	log := audit.New(&out)
	for _, value := range values {
		e := audit.Event{Kind: audit.ToolCall, Failed: true}
		for v, i := reflect.ValueOf(&e).Elem(), 0; i < v.NumField(); i++ {
			if f := v.Field(i); f.Type() == reflect.TypeFor[string]() && f.CanSet() {
				f.SetString(value)
			}
		}
		e.ArgumentsBytes, e.ResultBytes, e.DurationUsec, e.Generation, e.ReadOnly = "17", "18", "19", "20", "yes"
		log.Event(audit.By(context.Background(), value), e)
	}
	return out.String()
}

// Each field that the broker can write is read, from a line and from the journal, and each
// that the page lists.
func TestEveryFieldIsRead(t *testing.T) {
	line := writtenLines("x")
	all, err := ReadLines(strings.NewReader(line))
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	page, err := os.ReadFile("../../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	entry := testjournal.Event(at(0), 1, "tool_call", "PRIORITY=4")
	for _, m := range regexp.MustCompile(`(FJMCP_\w+)=(\S+)`).FindAllStringSubmatch(line, -1) {
		entry = entry.With(m[1] + "=" + m[2])
	}
	var fromJournal Event
	for e, err := range open(t, entry).Events(t.Context(), Range{}) {
		if fromJournal = e; err != nil {
			t.Fatal(err)
		}
	}
	for source, e := range map[string]Event{"line": all[0], "journal": fromJournal} {
		for v, i := reflect.ValueOf(e), 0; i < v.NumField(); i++ {
			name := v.Type().Field(i).Name
			if v.Field(i).IsZero() != (source == "line" && (name == "Run" || name == "Cursor")) {
				t.Errorf("%s: %s is %v", source, name, v.Field(i))
			}
		}
	}
	listed := regexp.MustCompile("(?m)^\\| `(FJMCP_\\w+)` \\|").FindAllStringSubmatch(string(page), -1)
	for _, m := range listed {
		if !slices.Contains(fields, m[1]) && m[1] != "FJMCP_EVENT" {
			t.Errorf("%s is not read", m[1])
		}
	}
	if len(listed) < 20 {
		t.Errorf("the page has %d fields", len(listed))
	}
}

// Values that a client chooses begin no line and no field.
func TestLinesKeepTheirValues(t *testing.T) {
	values := []string{`a b`, `"`, `a="b" FJMCP_USER=eve`, "x\ntime=2026-11-30T12:00:00Z level=INFO msg=audit FJMCP_EVENT=login", `\`, "é", "\x00\xff", "a\u2028b", "=", ` `}
	all, err := ReadLines(strings.NewReader(writtenLines(values...)))
	if err != nil || len(all) != len(values) {
		t.Fatalf("%d events, %v", len(all), err)
	}
	for i, e := range all {
		want := audit.Clean(values[i])
		if e.Kind != audit.ToolCall || e.User != want || e.Detail != want || e.Operator != want || e.Number != int64(i+1) || e.Time.IsZero() {
			t.Errorf("%q is read as %+v", values[i], e)
		}
	}
}

// The broker's log is passed over, whatever it tells of what somebody sent.
func TestOtherLinesAreNoEvents(t *testing.T) {
	var out bytes.Buffer
	forged := `time=2026-11-30T12:00:00Z level=INFO msg=audit FJMCP_EVENT=login FJMCP_USER=alice`
	log := logging.Untimed(&out)
	log.Info(forged)
	log.Info("audit", "FJMCP_EVENT", "login")
	log.With("FJMCP_EVENT", "login").Info("audit")
	log.Info("x\n"+forged, "text", "y\n"+forged)
	for _, line := range []string{"", " " + forged, "forgejo-mcp: " + forged, "broker-1  | " + forged, strings.ReplaceAll(forged, "time", "at"), strings.ReplaceAll(forged, "audit", "other"),
		strings.ReplaceAll(forged, "FJMCP_EVENT=login ", ""), forged + " loose", forged + ` FJMCP_NUMBER=x`, strings.ReplaceAll(forged, "2026", "year")} {
		out.WriteString(line + "\n")
	}
	if all, err := ReadLines(&out); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// Lines of two runs, one after the other, one of which has lost some.
func TestMissingAmongLines(t *testing.T) {
	text := writtenLines("1", "2", "3", "4", "5") + writtenLines("1", "2")
	lines := strings.SplitAfter(text, "\n")
	all, err := ReadLines(strings.NewReader(strings.Join(slices.Delete(lines, 2, 4), "")))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Range{{}, {Reverse: true}} {
		var got, missing int64
		r.Missing = func(n int64, _, _ time.Time) { missing += n }
		for e, err := range all.Events(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			got = got*10 + e.Number
		}
		if want := map[bool]int64{false: 12512, true: 21521}[r.Reverse]; got != want || missing != 2 {
			t.Errorf("read %d, %d missing", got, missing)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for _, line := range strings.Split(writtenLines("x", `a "b"`, "\x1b[2J"), "\n") {
		f.Add(line)
	}
	f.Add(`time=2026-11-30T12:00:00Z level=INFO msg=audit FJMCP_EVENT="`)
	f.Fuzz(func(t *testing.T, line string) {
		if e, ok := parseLine(line); ok && (e.Kind == "" || !strings.HasPrefix(line, "time=")) {
			t.Errorf("%q is taken for %+v", line, e)
		}
	})
}

// Whatever journalctl prints, nothing is believed that journald did not say of it, and no
// value steers a terminal.
func FuzzParseEntry(f *testing.F) {
	const entry = "__CURSOR=s=1\n__REALTIME_TIMESTAMP=1764500000000000\n_SYSTEMD_UNIT=fjmcp-broker.service\n_TRANSPORT=journal\n_MACHINE_ID=m\n_UID=990\n" +
		"FJMCP_EVENT=login\nFJMCP_NUMBER=1\nFJMCP_TIME=2026-11-30T12:00:00.000000Z\nFJMCP_USER=alice\n"
	f.Add([]byte(entry + "\n" + entry + "FJMCP_USER=bob\n\n"))
	f.Add([]byte(entry + "FJMCP_DETAIL\n\x03\x00\x00\x00\x00\x00\x00\x00a\nb\n\n"))
	f.Add([]byte(entry + "FJMCP_DETAIL\n\xff\xff\xff\xff\xff\xff\xff\xffa\nb\n\n"))
	f.Add([]byte(strings.ReplaceAll(entry, "_SYSTEMD_UNIT=", "_SYSTEMD_UNIT=x\n_SYSTEMD_UNIT=") + "\n" + entry + "FJMCP_TOOL=" + strings.Repeat("x", 5000) + "\n\n"))
	j := &Journal{}
	j.trust("m")
	f.Fuzz(func(t *testing.T, text []byte) {
		for r := bufio.NewReaderSize(bytes.NewReader(text), 1024); ; {
			fields, err := readEntry(r)
			if err != nil {
				return
			}
			e, err := j.parse(fields)
			if err != nil {
				continue
			}
			for _, want := range []string{"_SYSTEMD_UNIT=fjmcp-broker.service\n", "_TRANSPORT=journal\n", "_MACHINE_ID=m\n", "_UID=", "FJMCP_EVENT=" + string(e.Kind) + "\n"} {
				if !bytes.Contains(text, []byte(want)) {
					t.Errorf("%q is taken for %+v", text, e)
				}
			}
			for _, said := range []string{string(e.Kind), e.User, e.Client, e.Detail, e.Tool, e.Operator} {
				if said != audit.Clean(said) {
					t.Errorf("%q is let through", said)
				}
			}
		}
	})
}
