// Package journal reads the audit's events back out of the journal: what the broker wrote,
// and nothing that somebody else made to look like it.
//
// Any local program may write an entry with fields FJMCP_*, and with any other name that
// does not begin with an underscore. Those that do are journald's own
// (systemd.journal-fields(7)): it takes them from the kernel, which knows the sender's
// process and uid. An event is believed if they say that it came from the process of
// fjmcp-broker.service, under its user, on this machine, and not as a line of output. What
// is asked for by an operator never gets to journalctl's command line but as a time.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	unit     = "fjmcp-broker.service"
	userName = "fjmcp"
	// maxSystemUID is the largest uid of a system user (Debian Policy 9.2.2).
	maxSystemUID = 999
	// maxLine is more than a line of the broker's has, bytes.
	maxLine = 64 << 10
)

// Errors of Open. Their texts say what to do.
var (
	ErrNone   = errors.New("there is no journal")
	ErrDenied = errors.New("you may not read the journal")
)

// Journal is a journal that can be read. Use Open. It is for one goroutine.
type Journal struct {
	directory string
	uid       string            // the broker's; empty: that of any system user
	trusted   map[string]string // what journald must have said of an entry

	refused int
	said    []string // by journalctl
}

// Open returns this machine's journal, or that in a directory of journal files, which may
// be another machine's. Of that the broker's uid is not known here, so there any system
// user is believed to be the broker's. Errors match ErrNone or ErrDenied where they are
// that.
func Open(ctx context.Context, directory string) (*Journal, error) {
	if _, err := exec.LookPath("journalctl"); err != nil {
		return nil, fmt.Errorf("%w: journalctl is not installed", ErrNone)
	}
	if directory != "" {
		return openDirectory(ctx, directory)
	}
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	machine := strings.TrimSpace(string(id))
	if err := readable("system", filepath.Join("/var/log/journal", machine), filepath.Join("/run/log/journal", machine)); err != nil {
		return nil, err
	}
	broker, err := user.Lookup(userName)
	if err != nil {
		return nil, fmt.Errorf("cannot tell the broker's entries from others': %w; is fjmcp-broker installed here?", err)
	}
	j := &Journal{uid: broker.Uid}
	j.trust(machine)
	return j, nil
}

func openDirectory(ctx context.Context, directory string) (*Journal, error) {
	if err := readable("", directory); err != nil {
		return nil, err
	}
	j := &Journal{directory: directory}
	machine, err := j.machine(ctx)
	if err != nil {
		return nil, err
	}
	j.trust(machine)
	return j, nil
}

func (j *Journal) trust(machine string) {
	j.trusted = map[string]string{"_SYSTEMD_UNIT": unit, "_TRANSPORT": "journal", "_MACHINE_ID": machine}
}

// readable returns an error unless there are journal files whose names begin so in one of
// the directories, and all may be read. journalctl leaves out in silence what it may not.
func readable(prefix string, directories ...string) error {
	count := 0
	for _, directory := range directories {
		entries, err := os.ReadDir(directory)
		if errors.Is(err, fs.ErrPermission) {
			return denied(err)
		}
		for _, entry := range entries {
			if !strings.HasPrefix(entry.Name(), prefix) || !strings.HasSuffix(strings.TrimSuffix(entry.Name(), "~"), ".journal") {
				continue
			}
			count++
			f, err := os.Open(filepath.Join(directory, entry.Name()))
			if errors.Is(err, fs.ErrPermission) {
				return denied(err)
			}
			if err == nil { // else it has been rotated away
				f.Close()
			}
		}
	}
	if count == 0 {
		return fmt.Errorf("%w: %s has no journal files", ErrNone, directories[0])
	}
	return nil
}

func denied(err error) error {
	return fmt.Errorf("%w: %w\nhint: be root, or a member of the group systemd-journal", ErrDenied, err)
}

// machine finds out whose files a directory has. Root of a container, whose journal may lie
// beside the machine's, can name a unit as it likes.
func (j *Journal) machine(ctx context.Context) (string, error) {
	out, err := j.command(ctx, "--field=_MACHINE_ID").Output()
	all := strings.Fields(string(out))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot read %s: journalctl: %w", j.directory, err)
	case len(all) == 0:
		return "", fmt.Errorf("%w: the files in %s are empty", ErrNone, j.directory)
	case len(all) > 1:
		return "", fmt.Errorf("%s has the journals of several machines: name the directory of one", j.directory)
	}
	return all[0], nil
}

// Begins returns when the oldest entry of the journal was written, of whatever origin. It
// is zero where there is none.
func (j *Journal) Begins(ctx context.Context) (time.Time, error) {
	args := []string{"--output=export", "--output-fields=_BOOT_ID"}
	if j.directory == "" {
		args = append(args, "--system") // those of users may go back further
	}
	for entry, err := range j.run(ctx, args...) {
		return written(entry), err
	}
	return time.Time{}, nil
}

// Doubts says what may be missing in what was read so far, a line each.
func (j *Journal) Doubts() []string {
	said := append([]string(nil), j.said...)
	if j.refused > 0 {
		said = append(said, fmt.Sprintf("left out: entries of %s that the user %s did not write, or not as a broker does: %d", unit, userName, j.refused))
	}
	return said
}

// Range says what to read of the events, and how.
type Range struct {
	// Since and Until bound when an event happened, both included; zero is no bound.
	Since, Until time.Time
	Reverse      bool   // newest first
	Follow       bool   // go on with what comes, until the context ends
	After        *Event // if set, only what was written after it

	// Missing, if set, is told of events that were written between two that are read, at
	// those times, and are not there. The first time is zero where nothing older is there.
	Missing func(n int64, from, to time.Time)
}

// Events reads events in the order in which they happened. That is also the order in which
// the broker writes them, those among it that had to wait, so that it holds as long as the
// machine's clock is not set back.
func (j *Journal) Events(ctx context.Context, r Range) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var before Event
		if r.After != nil {
			before = *r.After
		} else if !r.Since.IsZero() {
			for e, err := range j.entries(ctx, "--reverse", "--until="+stamp(r.Since)) {
				if err != nil {
					yield(e, err)
					return
				}
				before = e
				break
			}
		}
		var args []string
		switch {
		case r.After != nil:
			args = append(args, "--after-cursor="+r.After.Cursor)
		case !r.Since.IsZero():
			args = append(args, "--since="+stamp(r.Since)) // none is written before it happens
		}
		if r.Reverse {
			args = append(args, "--reverse")
		}
		if r.Follow {
			args = append(args, "--follow", "--no-tail")
		}
		r.window(before, j.entries(ctx, args...))(yield)
	}
}

// stamp is a time as systemd.time(7) has it, rounded down.
func stamp(t time.Time) string { return "@" + strconv.FormatInt(t.Unix(), 10) }

// entries reads those entries that are events of the broker's.
func (j *Journal) entries(ctx context.Context, args ...string) iter.Seq2[Event, error] {
	argv := append([]string{"--output=export", "--output-fields=" + strings.Join(fields, ",")}, args...)
	for name, value := range j.trusted {
		argv = append(argv, name+"="+value)
	}
	return func(yield func(Event, error) bool) {
		for entry, err := range j.run(ctx, argv...) {
			var e Event
			if err == nil {
				e, err = j.parse(entry)
			}
			switch {
			case errors.Is(err, errNoEvent):
			case errors.Is(err, errRefused):
				j.refused++
			case !yield(e, err) || err != nil:
				return
			}
		}
	}
}

// run reads the entries that journalctl prints. It ends it when nobody wants more of them.
func (j *Journal) run(ctx context.Context, args ...string) iter.Seq2[map[string]string, error] {
	return func(yield func(map[string]string, error) bool) {
		own, cancel := context.WithCancel(ctx)
		defer cancel()
		var stderr bytes.Buffer
		cmd := j.command(own, args...)
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			yield(nil, fmt.Errorf("cannot start journalctl: %w", err))
			return
		}
		more := true
		for r := bufio.NewReaderSize(out, maxLine); more && err == nil; {
			var entry map[string]string
			if entry, err = readEntry(r); err == nil {
				more = yield(entry, nil)
			}
		}
		if !errors.Is(err, io.EOF) {
			cancel()
		}
		ended := cmd.Wait()
		if !more || ctx.Err() != nil {
			return
		}
		said := strings.TrimSpace(stderr.String())
		switch exit := new(exec.ExitError); {
		case !errors.Is(err, io.EOF):
			yield(nil, fmt.Errorf("cannot read what journalctl says: %w", err))
		case errors.As(ended, &exit) && exit.ExitCode() == 1 && said == "": // nothing matched
		case ended != nil:
			yield(nil, fmt.Errorf("journalctl: %w: %s", ended, said))
		case said != "":
			j.said = append(j.said, "journalctl: "+said)
		}
	}
}

func (j *Journal) command(ctx context.Context, args ...string) *exec.Cmd {
	argv := append([]string{"--no-pager", "--quiet"}, args...)
	if j.directory != "" {
		argv = append(argv, "--directory="+j.directory)
	}
	cmd := exec.CommandContext(ctx, "journalctl", argv...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0"}
	return cmd
}

// believed reports whether a uid is the broker's.
func (j *Journal) believed(uid string) bool {
	if j.uid != "" {
		return uid == j.uid
	}
	n, err := strconv.Atoi(uid)
	return err == nil && n > 0 && n <= maxSystemUID
}
