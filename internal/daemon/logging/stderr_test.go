package logging

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary a daemon: it logs each line of its input and answers it,
// and panics at the end of it.
func TestMain(m *testing.M) {
	path := os.Getenv("FJMCP_TEST_STREAM")
	if path == "" {
		os.Exit(m.Run())
	}
	journalStream = path
	log := New(OpenStderr(true))
	answers := os.NewFile(3, "answers")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		log.Warn(in.Text())
		fmt.Fprintln(answers, in.Text())
	}
	panic("the end")
}

// journald is what a test has in the journal's place: where it listens, and the other end
// of the daemon's standard error.
type journald struct {
	t    *testing.T
	path string
	conn net.Conn
	in   *bufio.Reader
}

// connection waits for the daemon to come, and reads what it says first.
func (j *journald) connection(l net.Listener) (header string) {
	j.t.Helper()
	l.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute))
	var err error
	if j.conn, err = l.Accept(); err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(func() { j.conn.Close() })
	j.in = bufio.NewReader(j.conn)
	for range 7 {
		header += j.line()
	}
	return header
}

func (j *journald) line() string {
	j.t.Helper()
	j.conn.SetReadDeadline(time.Now().Add(time.Minute))
	line, err := j.in.ReadString('\n')
	if err != nil {
		j.t.Fatalf("%q, %v", line, err)
	}
	return line
}

func (j *journald) listen() net.Listener {
	j.t.Helper()
	l, err := net.Listen("unix", j.path)
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(func() { l.Close() })
	return l
}

func (j *journald) want(line string) {
	j.t.Helper()
	if got := j.line(); got != line {
		j.t.Errorf("got %q, want %q", got, line)
	}
}

// daemon runs the daemon with that standard error. say has it log a line, and returns when
// it has.
func daemon(t *testing.T, path string, stderr *os.File, stream string) (say func(string), end func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `SYSTEMD_EXEC_PID=$$ exec "$0"`, self)
	cmd.Env = append(os.Environ(), "FJMCP_TEST_STREAM="+path, "JOURNAL_STREAM="+stream)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{answers}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers.Close()
	stderr.Close()
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	answered := bufio.NewScanner(out)
	return func(line string) {
		t.Helper()
		if fmt.Fprintln(in, line); !answered.Scan() || answered.Text() != line {
			t.Fatalf("the daemon has not logged %q: %q, %v", line, answered.Text(), answered.Err())
		}
	}, func() { in.Close() }
}

const header = "logging.test\n\n6\n1\n0\n0\n0\n"

// A daemon lives on without the journal and finds the next one, which gets what was
// logged meanwhile, and a panic's trace, too.
func TestStderrOutlivesTheJournal(t *testing.T) {
	j := &journald{t: t, path: filepath.Join(t.TempDir(), "stdout")}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	var st syscall.Stat_t
	if err := syscall.Fstat(int(far.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if j.conn, err = net.FileConn(near); err != nil {
		t.Fatal(err)
	}
	near.Close()
	j.in = bufio.NewReader(j.conn)
	say, end := daemon(t, j.path, far, fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	say("one")
	j.want("<4>msg=one\n")

	// It does not read for a while.
	long, late := strings.Repeat("x", 1<<10), 0
	for range 250 {
		say(long)
	}
	for range 250 {
		line := j.line()
		if !strings.HasPrefix(line, "<4>msg="+long) {
			t.Fatalf("got %q", line)
		}
		if strings.Contains(line, " time=20") {
			late++
		}
	}
	if late == 0 {
		t.Error("all lines fit into the socket")
	}

	j.conn.Close()
	say("two")
	say("three")
	l := j.listen()
	if got := j.connection(l); got != header {
		t.Errorf("the header is %q, want %q", got, header)
	}
	for _, word := range []string{"two", "three"} {
		if got := j.line(); !strings.HasPrefix(got, "<4>msg="+word+" time=20") {
			t.Errorf("got %q, want %s", got, word)
		}
	}
	say("four")
	j.want("<4>msg=four\n")

	// One that is there again before anything is logged.
	j.conn.Close()
	say("five")
	j.connection(l)
	j.want("<4>msg=five\n")

	end()
	rest, _ := io.ReadAll(j.in)
	if !strings.Contains(string(rest), "panic: the end") {
		t.Errorf("the trace has not come: %q", rest)
	}
}

// Where the journal was away when the service manager started the daemon, and for longer
// than lines can wait.
func TestStderrFindsTheJournal(t *testing.T) {
	j := &journald{t: t, path: filepath.Join(t.TempDir(), "stdout")}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	say, _ := daemon(t, j.path, null, "")
	long := strings.Repeat("x", 1<<10)
	for range maxKept >> 10 {
		say(long)
	}
	j.connection(j.listen())
	n := 0
	for {
		line := j.line()
		if strings.HasPrefix(line, "<4>level=WARN msg=\"lines were lost") {
			if want := fmt.Sprintf("lines=%d\n", maxKept>>10-n); n < 200 || !strings.HasSuffix(line, want) {
				t.Errorf("%d lines came, and %q; want %s", n, line, want)
			}
			break
		}
		n++
	}
	say("after")
	j.want("<4>msg=after\n")
}

// Where standard error is nobody's journal, lines have a time and a level, and a reader
// that leaves ends no daemon either.
func TestStderrOutlivesItsReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	say, _ := daemon(t, filepath.Join(t.TempDir(), "none"), w, "")
	say("one")
	if line, err := bufio.NewReader(r).ReadString('\n'); !strings.HasPrefix(line, "time=20") || !strings.HasSuffix(line, " level=WARN msg=one\n") {
		t.Errorf("got %q, %v", line, err)
	}
	r.Close()
	say("two")
	say("three")
}
