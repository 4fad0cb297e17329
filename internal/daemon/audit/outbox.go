package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxWaiting bounds the events in memory that nobody takes, in bytes: thousands of tool
	// calls.
	maxWaiting = 8 << 20
	// retryAfter is the time between two tries to write them; soon, where the journal only
	// has to read what it was given, which is little where sockets hold ten entries.
	retryAfter = 100 * time.Millisecond
	soon       = 2 * time.Millisecond
	// patience is how long the journal may take for a burst of more than its socket holds
	// before that counts as an interruption.
	patience = time.Second
)

// ErrMute says that calls are refused because they could not be audited.
var ErrMute = errors.New("the audit cannot be written")

// entry is an event as it is written.
type entry struct {
	text   []byte // ends with the message for people, and a newline
	at     time.Time
	number int64
}

// outbox is what has not been written, in order. Its fields are under Logger.mu.
type outbox struct {
	write   func([]byte) error // does not wait for the journal
	waiting []entry
	size    int // of waiting, bytes
	since   time.Time
	cause   error // why nothing could be written, nil while all is well
	away    bool  // it was for more than a full socket
	late    int   // events that had to wait
	lost    int   // events beyond the bound
	first   int64 // of those, the numbers
	last    int64
	refused int // calls
}

// putLocked writes e, or keeps it for later.
func (l *Logger) putLocked(e entry) {
	o := &l.out
	if o.cause == nil {
		err := o.write(e.text)
		if err == nil {
			return
		}
		o.since = e.at
		o.failLocked(err)
		go l.retry()
	}
	if o.size+len(e.text) > maxWaiting {
		if o.lost++; o.lost == 1 {
			o.first = e.number
		}
		o.last = e.number
		return
	}
	o.late++
	o.waiting, o.size = append(o.waiting, e), o.size+len(e.text)
}

func (o *outbox) failLocked(err error) {
	o.cause, o.away = err, o.away || !errors.Is(err, unix.EAGAIN)
}

// retry writes what waits, as soon as that is possible.
func (l *Logger) retry() {
	for wait, written := soon, false; !written; time.Sleep(wait) {
		l.mu.Lock()
		written = l.catchUpLocked()
		if wait = retryAfter; errors.Is(l.out.cause, unix.EAGAIN) {
			wait = soon
		}
		l.mu.Unlock()
	}
}

// catchUpLocked reports whether nothing waits any more. An interruption is an event
// itself, a burst that the journal took at once is not.
func (l *Logger) catchUpLocked() bool {
	o, now := &l.out, l.now()
	if o.cause == nil {
		return true
	}
	for ; len(o.waiting) > 0; o.waiting = o.waiting[1:] {
		e := o.waiting[0]
		text := e.text
		if now.Sub(e.at) >= patience {
			text = fmt.Appendf(text[:len(text)-1], " at=%s\n", stamp(e.at))
		}
		if err := o.write(text); err != nil {
			o.failLocked(err)
			return false
		}
		o.size -= len(e.text)
	}
	over := *o
	l.total.Lost, l.total.Refused = l.total.Lost+o.lost, l.total.Refused+o.refused
	l.out = outbox{write: o.write}
	if over.away || now.Sub(over.since) >= patience {
		l.eventLocked(over.event(now))
	}
	return true // if that could not be written, another retry has begun
}

// Flush is for the end of a program: it waits until all events are written. When ctx ends
// before, it says how many are lost.
func (l *Logger) Flush(ctx context.Context) error {
	for {
		l.mu.Lock()
		written := l.catchUpLocked() && l.out.cause == nil
		left := len(l.out.waiting) + l.out.lost
		l.mu.Unlock()
		if written {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d event(s) of the audit are lost, as nobody took them", left)
		case <-time.After(soon):
		}
	}
}

// event tells of an interruption that is over.
func (o *outbox) event(now time.Time) Event {
	e := Event{Kind: Interrupted, Outcome: "late", Failed: true, Detail: fmt.Sprintf("from %s to %s: %v; %d event(s) written late",
		o.since.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), o.cause, o.late)}
	if o.lost > 0 {
		e.Outcome = "lost"
		e.Detail += fmt.Sprintf(", %d lost, of the numbers %d to %d", o.lost, o.first, o.last)
	}
	if o.refused > 0 {
		e.Detail += fmt.Sprintf(", %d call(s) refused", o.refused)
	}
	return e
}

// Backlog is what has not been written.
type Backlog struct {
	Waiting int // events in memory
	Bytes   int // of these
	Room    int // bytes that may wait
	Lost    int // events beyond the room, since the start
	Refused int // calls, since the start
}

// Backlog tells what has not been written by now.
func (l *Logger) Backlog() Backlog {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := &l.out
	return Backlog{Waiting: len(o.waiting), Bytes: o.size, Room: maxWaiting, Lost: l.total.Lost + o.lost, Refused: l.total.Refused + o.refused}
}

// Require has Admit refuse calls once nobody takes their events. Call it before use.
func (l *Logger) Require() { l.required = true }

// Admit returns ErrMute if calls are to be refused: Require was called, and half of the
// room for events that wait is taken. The rest is for calls under way.
func (l *Logger) Admit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.refusesLocked() {
		return nil
	}
	l.out.refused++
	return ErrMute
}

func (l *Logger) refusesLocked() bool { return l.required && l.out.size >= maxWaiting/2 }

// Check returns an error that says since when and why events cannot be written, if that
// is so. It is ErrMute where calls are refused for it.
func (l *Logger) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := &l.out
	if o.cause == nil || l.now().Sub(o.since) < patience {
		return nil
	}
	mute := errors.New("events cannot be written")
	if l.refusesLocked() {
		mute = fmt.Errorf("calls are refused, as %w", ErrMute)
	}
	return fmt.Errorf("%w since %s: %w; %d wait in memory, which has %d %% of its room left, %d are lost, %d call(s) were refused",
		mute, o.since.UTC().Format(time.RFC3339), o.cause, len(o.waiting), 100-100*o.size/maxWaiting, o.lost, o.refused)
}

// journalSocket is where journald takes entries (systemd.io/JOURNAL_NATIVE_PROTOCOL). A
// test sets another.
var journalSocket = "/run/systemd/journal/socket"

// toJournal returns a function that hands entries to journald, whichever runs: the socket
// is looked up for each, as another takes its place when journald is started anew. Where
// there is no directory for it, there is no journal, and the function is nil.
func toJournal() func([]byte) error {
	if _, err := os.Stat(filepath.Dir(journalSocket)); err != nil {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	to := &unix.SockaddrUnix{Name: journalSocket}
	return func(text []byte) error { return unix.Sendto(fd, text, unix.MSG_NOSIGNAL, to) }
}
