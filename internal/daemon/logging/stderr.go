package logging

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxKept bounds the lines that wait for the journal, in bytes.
	maxKept = 256 << 10
	// retryAfter is the time between two looks for the journal.
	retryAfter = 250 * time.Millisecond
)

// journalStream is where the journal takes the lines of a service, as in
// sd_journal_stream_fd(3). A test sets another.
var journalStream = "/run/systemd/journal/stdout"

// Stderr is a daemon's standard error. Where that leads to the journal it outlives the
// journal's daemon: the connection that the service manager made is gone for good with
// that, so another is made in its place, for all that writes there, a panic's trace too.
// Lines that come meanwhile, or that the journal does not read, wait: maxKept bytes at
// most.
type Stderr struct {
	journal bool
	levels  bool
	both    bool // standard output led to the same

	mu      sync.Mutex
	gone    bool // nobody reads what is written
	kept    []line
	size    int // of kept, bytes
	lost    int // lines beyond it
	looking bool
}

type line struct {
	text []byte
	at   time.Time
}

// OpenStderr readies standard error; a program calls it once, before all else. From then
// on a reader that leaves ends no program by SIGPIPE (os/signal). levels says whether
// lines may begin with their priority (SyslogLevelPrefix= in systemd.exec(5)).
func OpenStderr(levels bool) *Stderr {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not Ignore, which children would inherit
	s := &Stderr{levels: levels, journal: toJournal(os.Stderr), both: sameFile(os.Stdout, os.Stderr)}
	if !s.journal && nowhere() {
		s.journal, s.gone = true, true
	}
	return s
}

// nowhere reports whether the journal was away when the service manager started this
// program, which then leads its output to /dev/null: the host's, where the program may see
// another. A unit with StandardError=null looks the same.
func nowhere() bool {
	var st unix.Stat_t
	return os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) && unix.Fstat(syscall.Stderr, &st) == nil &&
		st.Mode&unix.S_IFMT == unix.S_IFCHR && uint64(st.Rdev) == unix.Mkdev(1, 3)
}

func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	other, err2 := b.Stat()
	return err == nil && err2 == nil && os.SameFile(one, other)
}

// Journal reports whether standard error leads to the journal, be it there or away.
func (s *Stderr) Journal() bool { return s.journal }

// Write writes one line, or keeps it until the journal is back.
func (s *Stderr) Write(text []byte) (int, error) {
	if !s.journal {
		return os.Stderr.Write(text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looking || !s.sendLocked(text) {
		s.keepLocked(text)
	}
	return len(text), nil
}

// sendLocked reports whether the journal has the text, to which it leads standard error
// anew if that is needed. It does not wait for a journal that does not read.
func (s *Stderr) sendLocked(text []byte) bool {
	for range 2 {
		if s.gone && s.connectLocked() != nil {
			return false
		}
		_, err := unix.SendmsgN(syscall.Stderr, text, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if s.gone = err != nil && !errors.Is(err, unix.EAGAIN); !s.gone {
			return err == nil
		}
	}
	return false
}

func (s *Stderr) keepLocked(text []byte) {
	if s.size+len(text) > maxKept {
		s.lost++
		return
	}
	s.kept, s.size = append(s.kept, line{append([]byte(nil), text...), time.Now()}), s.size+len(text)
	if !s.looking {
		s.looking = true
		go s.look()
	}
}

// look waits for the journal and writes what was kept.
func (s *Stderr) look() {
	for {
		time.Sleep(retryAfter)
		s.mu.Lock()
		if s.catchUpLocked() {
			s.looking = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// catchUpLocked reports whether nothing waits any more.
func (s *Stderr) catchUpLocked() bool {
	for ; len(s.kept) > 0; s.kept = s.kept[1:] {
		l := s.kept[0]
		late := fmt.Appendf(l.text[:len(l.text)-1], " time=%s\n", l.at.UTC().Format(time.RFC3339Nano))
		if !s.sendLocked(late) {
			return false
		}
		s.size -= len(l.text)
	}
	s.kept = nil
	lost := fmt.Sprintf("level=WARN msg=\"lines were lost while the journal was away\" lines=%d\n", s.lost)
	if s.levels {
		lost = "<4>" + lost
	}
	if s.lost > 0 && !s.sendLocked([]byte(lost)) {
		return false
	}
	s.lost = 0
	return true
}

// connectLocked leads standard error, and standard output if it was the same, to the
// journal anew.
func (s *Stderr) connectLocked() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: journalStream}); err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	// Who writes, of which unit (the journal finds out), priority, whether lines say their
	// own, and nowhere else to send them.
	levels := map[bool]int{true: 1}[s.levels]
	if _, err := unix.Write(fd, fmt.Appendf(nil, "%s\n\n6\n%d\n0\n0\n0\n", filepath.Base(os.Args[0]), levels)); err != nil {
		return err
	}
	if s.both {
		if err := unix.Dup3(fd, syscall.Stdout, 0); err != nil {
			return err
		}
	}
	return unix.Dup3(fd, syscall.Stderr, 0)
}
