package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/test/testlog"
)

// TestMain also plays fjmcp-session and, as its child, forgejo-mcp.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("CREDENTIALS_DIRECTORY") != "":
		os.Exit(fakeSession())
	case os.Getenv("FJMCP_TEST_GRANDCHILD") != "":
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

// report is what the fake session says of itself.
type report struct {
	Token      string
	Env        []string
	Grandchild int
}

func fakeSession() int {
	grandchild := exec.Command(os.Args[0])
	grandchild.Env = []string{"FJMCP_TEST_GRANDCHILD=1"}
	if err := grandchild.Start(); err != nil {
		return 1
	}
	r := report{Env: os.Environ(), Grandchild: grandchild.Process.Pid}
	if !strings.HasSuffix(os.Getenv("FJMCP_SESSION_FORGEJO_URL"), "/unread") {
		token, _ := os.ReadFile(filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), "forgejo-token"))
		r.Token = string(token)
	}
	data, _ := json.Marshal(r)
	os.Stdout.Write(data)
	os.Stderr.WriteString("first line\nlast words")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "ignore-term":
			signal.Ignore(syscall.SIGTERM)
		case "exit":
			return 0
		}
		os.Stdin.WriteString(lines.Text() + "\n")
	}
	return 0
}

// clock is moved by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type fixture struct {
	*Process
	clock *clock
	log   *testlog.Buffer
	temp  string
}

const forgeURL = "http://forgejo.localhost:3000"

func newFixture(t *testing.T, change func(*ProcessConfig)) *fixture {
	t.Helper()
	f := &fixture{clock: &clock{now: time.Unix(1e9, 0)}, log: new(testlog.Buffer), temp: t.TempDir()}
	t.Setenv("TMPDIR", f.temp)
	cfg := ProcessConfig{
		SessionBinary: os.Args[0], ForgejoURL: forgeURL, ForgejoMCP: os.Args[0], CAFile: "/ca.pem", Routes: "close:/user/keys",
		Now: f.clock.Now, Log: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if f.Process, err = NewProcess(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		if left, _ := os.ReadDir(f.temp); len(left) > 0 {
			t.Errorf("left in the temporary directory: %v", left)
		}
	})
	return f
}

// session is a started fake session.
type session struct {
	id     string
	report report
	mcp    *os.File
	lines  *bufio.Reader
}

func pair(t *testing.T, typ int) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func newSpec(t *testing.T, id string) (spec Spec, mcp, control *os.File) {
	t.Helper()
	mcp, theirMCP := pair(t, unix.SOCK_STREAM)
	control, theirControl := pair(t, unix.SOCK_SEQPACKET)
	return Spec{UnitID: id, SessionID: "journal01", AccountID: "account01", Token: "token-of-" + id, Idle: 10 * time.Minute, MaxAge: time.Hour,
		MCP: theirMCP, Control: theirControl}, mcp, control
}

func (f *fixture) start(t *testing.T, id string) *session {
	t.Helper()
	spec, mcp, control := newSpec(t, id)
	if err := f.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	spec.MCP.Close()
	spec.Control.Close()
	s := &session{id: id, mcp: mcp, lines: bufio.NewReader(mcp)}
	buf := make([]byte, 64<<10)
	n, err := control.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(buf[:n], &s.report); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *session) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(s.mcp, line+"\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.lines.ReadString('\n'); err != nil || got != line+"\n" {
		t.Fatalf("said %q, heard %q, %v", line, got, err)
	}
}

// assertGone waits for the end of the whole group.
func (f *fixture) assertGone(t *testing.T, s *session) {
	t.Helper()
	if line, err := s.lines.ReadString('\n'); err == nil {
		t.Errorf("session says %q", line)
	}
	for alive(s.report.Grandchild) {
		time.Sleep(time.Millisecond)
	}
	for {
		ids, err := f.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(ids, s.id) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := f.Touch(t.Context(), s.id); !errors.Is(err, ErrGone) {
		t.Errorf("touch: %v", err)
	}
}

// alive is false for a zombie, which nobody may be there to wait for.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

func TestProcessContract(t *testing.T) {
	t.Setenv("FJMCP_BROKER_FORGEJO_URL", "not for sessions")
	f := newFixture(t, nil)
	a, b := f.start(t, "aaaaaaaa"), f.start(t, "bbbbbbbb")
	for _, s := range []*session{a, b} {
		if s.report.Token != "token-of-"+s.id {
			t.Errorf("%s got credential %q", s.id, s.report.Token)
		}
		s.say(t, "hello")
	}
	env := strings.Join(a.report.Env, "\n")
	for _, want := range []string{"FJMCP_SESSION_FORGEJO_URL=" + forgeURL, "FJMCP_SESSION_FORGEJO_MCP=" + os.Args[0], "FJMCP_SESSION_ROUTES=close:/user/keys",
		"FJMCP_SESSION_FORGEJO_CA_FILE=/ca.pem"} {
		if !strings.Contains(env, want) {
			t.Errorf("environment lacks %s", want)
		}
	}
	if strings.Contains(env, "FJMCP_BROKER_") || strings.Contains(env, "token-of") {
		t.Errorf("environment:\n%s", env)
	}
	if ids, err := f.List(t.Context()); err != nil || !slices.Equal(ids, []string{a.id, b.id}) {
		t.Errorf("List() = %q, %v", ids, err)
	}
	spec, _, _ := newSpec(t, a.id)
	assertCode(t, f.Start(t.Context(), spec), launchproto.CodeExists)
	if err := f.Stop(t.Context(), a.id); err != nil {
		t.Error(err)
	}
	f.assertGone(t, a)
	b.say(t, "still here")
	if err := f.Stop(t.Context(), a.id); err != nil {
		t.Errorf("stopping what is gone: %v", err)
	}
	for _, want := range []string{`msg="session: first line" FJMCP_SESSION=journal01`, `msg="session: last words"`} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("log lacks %s:\n%s", want, f.log)
		}
	}
}

func TestProcessReapsIdle(t *testing.T) {
	f := newFixture(t, nil)
	idle, touched := f.start(t, "idle0000"), f.start(t, "touched0")
	f.clock.advance(9 * time.Minute)
	if err := f.Touch(t.Context(), touched.id); err != nil {
		t.Fatal(err)
	}
	f.clock.advance(time.Minute)
	f.assertGone(t, idle)
	touched.say(t, "alive")
}

func TestProcessMaxAge(t *testing.T) {
	f := newFixture(t, nil)
	s := f.start(t, "maxage00")
	for range 7 {
		f.clock.advance(9 * time.Minute)
		if err := f.Touch(t.Context(), s.id); err != nil && !errors.Is(err, ErrGone) {
			t.Fatal(err)
		}
	}
	f.assertGone(t, s)
}

func TestProcessEndsByItself(t *testing.T) {
	f := newFixture(t, nil)
	s := f.start(t, "itself00")
	if _, err := io.WriteString(s.mcp, "exit\n"); err != nil {
		t.Fatal(err)
	}
	f.assertGone(t, s)
}

func TestProcessKillsWhatIgnoresTerm(t *testing.T) {
	f := newFixture(t, nil)
	s := f.start(t, "stubborn")
	s.say(t, "ignore-term")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.assertGone(t, s)
	spec, _, _ := newSpec(t, "toolate0")
	assertCode(t, f.Start(t.Context(), spec), launchproto.CodeFailed)
}

// TestProcessUnreadCredential has the session end without reading its token.
func TestProcessUnreadCredential(t *testing.T) {
	f := newFixture(t, func(c *ProcessConfig) { c.ForgejoURL += "/unread" })
	s := f.start(t, "unread00")
	if err := f.Stop(t.Context(), s.id); err != nil {
		t.Fatal(err)
	}
	f.assertGone(t, s)
}

func TestProcessCannotStart(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	notExecutable := filepath.Join(t.TempDir(), "fjmcp-session")
	if err := os.WriteFile(notExecutable, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*ProcessConfig)
		id     string
		code   launchproto.Code
		want   string
	}{
		{"backend missing", func(c *ProcessConfig) { c.ForgejoMCP = absent }, "aaaaaaaa", launchproto.CodeConfig, absent},
		{"not executable", func(c *ProcessConfig) { c.SessionBinary = notExecutable }, "aaaaaaaa", launchproto.CodeFailed, "permission denied"},
		{"bad id", nil, "../../etc", launchproto.CodeBadRequest, "bad session id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, c.change)
			spec, _, _ := newSpec(t, c.id)
			e := assertCode(t, f.Start(t.Context(), spec), c.code)
			if !strings.Contains(e.Message, c.want) {
				t.Errorf("message %q lacks %q", e.Message, c.want)
			}
			if ids, err := f.List(t.Context()); err != nil || len(ids) > 0 {
				t.Errorf("List() = %q, %v", ids, err)
			}
		})
	}
}

func TestProcessWantsAToken(t *testing.T) {
	spec, _, _ := newSpec(t, "aaaaaaaa")
	spec.Token = ""
	if e := assertCode(t, newFixture(t, nil).Start(t.Context(), spec), launchproto.CodeFailed); !strings.Contains(e.Message, "no token") {
		t.Errorf("message %q", e.Message)
	}
}

func TestProcessCheck(t *testing.T) {
	if made, err := newFixture(t, nil).Check(t.Context()); err != nil || made == "" {
		t.Errorf("%q, %v", made, err)
	}
	f := newFixture(t, func(c *ProcessConfig) { c.ForgejoMCP = "/nonexistent/forgejo-mcp" })
	assertCode(t, checkError(t.Context(), f), launchproto.CodeConfig)
	if _, err := NewProcess(ProcessConfig{SessionBinary: "/nonexistent", ForgejoURL: forgeURL, Now: time.Now, Log: f.cfg.Log}); err == nil {
		t.Error("a missing fjmcp-session is no error")
	}
}

// checkError is what a launcher's Check has found wrong.
func checkError(ctx context.Context, l Launcher) error {
	_, err := l.Check(ctx)
	return err
}

func assertCode(t *testing.T, err error, code launchproto.Code) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
	return e
}
