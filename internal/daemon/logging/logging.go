// Package logging makes the slog.Logger of a daemon: lines with a syslog
// priority prefix for the journal (sd-daemon(3)), lines with a time elsewhere.
//
// A line holds the attributes too, so that `journalctl -u` shows the cause of an error.
// Handlers that speak the journal's own protocol, such as systemd/slog-journal, make
// fields of them, which it does not show, and drop keys in lower case.
package logging

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
)

// toJournal reports whether f is connected to the journal: whether it is the file that
// $JOURNAL_STREAM names by device and inode (systemd.exec(5)). That the variable is set
// says nothing: a desktop's terminals inherit it, and so does what a service starts.
func toJournal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// New returns a logger that writes to standard error. Where that is the journal each line
// begins with its priority and carries no time, which the journal keeps itself.
func New(s *Stderr) *slog.Logger {
	if !s.Journal() {
		return slog.New(slog.NewTextHandler(s, nil))
	}
	return Untimed(prefixer{s})
}

// Untimed returns a logger that writes to w without the time: who reads it keeps that.
func Untimed(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// prefixer puts a record's priority before it, in place of its level.
type prefixer struct{ w io.Writer }

// Write implements io.Writer; slog's handler writes a record in one call, its level first.
func (p prefixer) Write(record []byte) (int, error) {
	head, rest, _ := bytes.Cut(record, []byte(" "))
	var level slog.Level
	if err := level.UnmarshalText(bytes.TrimPrefix(head, []byte("level="))); err != nil {
		rest = record // and as "info"
	}
	if _, err := p.w.Write(append([]byte(prefix(level)), rest...)); err != nil {
		return 0, err
	}
	return len(record), nil
}

// prefix gives the priority of syslog(3) as sd-daemon(3) reads it.
func prefix(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}
