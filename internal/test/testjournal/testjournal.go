// Package testjournal makes journal files with whatever entries a test wants, those among
// it that only journald could write, and those that somebody forges. Debian's
// systemd-journal-remote writes them, from systemd's export format
// (systemd.io/JOURNAL_EXPORT_FORMATS), so that journalctl reads what is real.
package testjournal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/test/testcache"
)

// Of entries that Event makes.
const (
	Machine = "22222222222222222222222222222222"
	Run     = "33333333333333333333333333333333"
	UID     = "990"
)

// Entry is one: its fields, each as NAME=value, and when it was written.
type Entry struct {
	Written time.Time
	Fields  []string
}

// Event is an entry of the broker's run Run, written when it happened, of that number and
// kind, with more fields.
func Event(at time.Time, number int, kind string, fields ...string) Entry {
	return Entry{at, append([]string{"_SYSTEMD_UNIT=fjmcp-broker.service", "_UID=" + UID, "_TRANSPORT=journal", "_MACHINE_ID=" + Machine,
		"_SYSTEMD_INVOCATION_ID=" + Run, "SYSLOG_IDENTIFIER=fjmcp-broker", "MESSAGE=" + kind, "FJMCP_EVENT=" + kind,
		"FJMCP_NUMBER=" + fmt.Sprint(number), "FJMCP_TIME=" + at.UTC().Format("2006-01-02T15:04:05.000000Z")}, fields...)}
}

// With returns the entry with other values of the fields; NAME alone takes one away.
func (e Entry) With(fields ...string) Entry {
	changed := Entry{Written: e.Written}
	for _, f := range e.Fields {
		name, _, _ := strings.Cut(f, "=")
		kept := true
		for _, other := range fields {
			kept = kept && !strings.HasPrefix(other+"=", name+"=")
		}
		if kept {
			changed.Fields = append(changed.Fields, f)
		}
	}
	for _, f := range fields {
		if strings.Contains(f, "=") {
			changed.Fields = append(changed.Fields, f)
		}
	}
	return changed
}

// Write makes a journal file of that name, which ends with .journal, in a directory. It
// skips the test where Debian's package cannot be had; in CI it fails.
func Write(t testing.TB, directory, name string, entries ...Entry) {
	t.Helper()
	debian, err := testcache.Unpacked(t.Context(), "systemd-journal-remote", "libmicrohttpd12")
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("cannot make journal files: %v", err)
	}
	must(t, err)
	libraries, err := filepath.Glob(filepath.Join(debian, "usr/lib/*-linux-gnu"))
	must(t, err)
	cmd := exec.CommandContext(t.Context(), filepath.Join(debian, "lib/systemd/systemd-journal-remote"), "--output="+filepath.Join(directory, name), "-")
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	var text bytes.Buffer
	for _, e := range entries {
		e.export(&text)
	}
	cmd.Stdin = &text
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("systemd-journal-remote: %v: %s", err, out)
	}
}

func (e Entry) export(w *bytes.Buffer) {
	at := e.Written.UnixMicro()
	fmt.Fprintf(w, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=11111111111111111111111111111111\n", at, at)
	for _, f := range e.Fields {
		name, value, _ := strings.Cut(f, "=")
		if !strings.ContainsAny(value, "\n\x00") {
			fmt.Fprintf(w, "%s\n", f)
			continue
		}
		fmt.Fprintf(w, "%s\n%s%s\n", name, binary.LittleEndian.AppendUint64(nil, uint64(len(value))), value)
	}
	w.WriteString("\n")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
