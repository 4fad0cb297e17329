package client

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// child is one session's process group.
type child struct {
	id  string
	cmd *exec.Cmd
	// process is the pidfd of the main process, readable once that has ended; nil
	// where the kernel has none.
	process *os.File
	cred    *credentialDir
	log     *slog.Logger
	// lines takes the session's standard error.
	lines *lineLog
	idle  time.Duration
	gone  chan struct{} // closed when the child is forgotten

	mu     sync.Mutex
	reapAt time.Time
	endAt  time.Time
	ending bool
}

func startChild(cfg ProcessConfig, spec Spec, mcp string) (*child, error) {
	if spec.Token == "" {
		return nil, errors.New("no token")
	}
	cred, err := newCredentialDir()
	if err != nil {
		return nil, err
	}
	now := cfg.Now()
	c := &child{
		id: spec.UnitID, cred: cred, idle: spec.Idle,
		log:    cfg.Log.With("FJMCP_SESSION", spec.SessionID),
		gone:   make(chan struct{}),
		reapAt: now.Add(spec.Idle), endAt: now.Add(spec.MaxAge),
	}
	c.lines = &lineLog{log: c.log}
	c.cmd = exec.Command(cfg.SessionBinary)
	c.cmd.Env = environment(cfg, mcp, cred.dir)
	c.cmd.Dir = "/"
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = spec.MCP, spec.Control, c.lines
	pidfd := -1
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd}
	c.cmd.WaitDelay = stopTimeout // should a process that left the group hold on to stderr
	go cred.serve(spec.Token)
	if err := c.cmd.Start(); err != nil {
		cred.remove()
		return nil, err
	}
	c.cmd.Env, c.cmd.Stdin, c.cmd.Stdout = nil, nil, nil // not to be kept as long as the session
	_ = syscall.SetNonblock(pidfd, true)                 // has the runtime's poller wait for it
	c.process = os.NewFile(uintptr(pidfd), "pidfd")
	return c, nil
}

// environment is the whole of it: the broker's own is not passed on.
func environment(cfg ProcessConfig, mcp, credentials string) []string {
	env := []string{
		"CREDENTIALS_DIRECTORY=" + credentials,
		"FJMCP_SESSION_FORGEJO_URL=" + cfg.ForgejoURL,
		"FJMCP_SESSION_FORGEJO_MCP=" + mcp,
		"FJMCP_SESSION_ROUTES=" + cfg.Routes,
	}
	if cfg.CAFile != "" {
		env = append(env, "FJMCP_SESSION_FORGEJO_CA_FILE="+cfg.CAFile)
	}
	if cfg.ForgejoSocket != "" {
		env = append(env, "FJMCP_SESSION_EGRESS="+cfg.ForgejoSocket, "FJMCP_SESSION_EGRESS_PLAINTEXT=1")
	}
	// Where the system's CA certificates lie, if the operator says so.
	for _, name := range []string{"PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// due says why the session's time is over, if it is.
func (c *child) due(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ending:
	case !now.Before(c.endAt):
		return "maximum age reached"
	case !now.Before(c.reapAt):
		return "idle"
	}
	return ""
}

// touch reports whether the session runs on.
func (c *child) touch(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending {
		c.reapAt = now.Add(c.idle)
	}
	return !c.ending
}

// markEnding reports whether this call is the first.
func (c *child) markEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.ending
	c.ending = true
	return first
}

// terminate begins to end the session: SIGTERM to its main process, and after
// stopTimeout SIGKILL. It does not wait.
func (c *child) terminate() {
	if c.markEnding() {
		c.cmd.Process.Signal(syscall.SIGTERM)
		time.AfterFunc(stopTimeout, func() { c.cmd.Process.Kill() }) // does nothing once it has ended
	}
}

// wait returns when the main process has ended, by itself or by terminate, and
// its group has been killed. While the main process is still to be waited for,
// the group's number cannot be anyone else's.
func (c *child) wait() {
	c.awaitExit()
	c.markEnding()
	syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	c.process.Close()
	c.cmd.Wait()
	c.lines.flush()
	c.cred.remove()
}

// awaitExit returns when the main process has ended, and leaves it to be waited
// for. Where the kernel has no pidfds it keeps a thread.
func (c *child) awaitExit() {
	if conn, err := c.process.SyscallConn(); err == nil {
		_ = conn.Read(func(pidfd uintptr) bool {
			return unix.Waitid(unix.P_PIDFD, int(pidfd), nil, unix.WEXITED|unix.WNOWAIT, nil) != unix.EAGAIN
		})
	}
	for unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// credentialDir is the session's $CREDENTIALS_DIRECTORY. Its one file is a FIFO,
// so that the token never rests on disk.
type credentialDir struct {
	dir, fifo string
	served    chan struct{}
}

func newCredentialDir() (*credentialDir, error) {
	dir, err := os.MkdirTemp("", "fjmcp-session-")
	if err != nil {
		return nil, err
	}
	d := &credentialDir{dir: dir, fifo: filepath.Join(dir, launchproto.CredentialName), served: make(chan struct{})}
	if err := unix.Mkfifo(d.fifo, 0o600); err != nil {
		os.RemoveAll(dir)
		return nil, &os.PathError{Op: "mkfifo", Path: d.fifo, Err: err}
	}
	return d, nil
}

// serve waits for a reader and gives it the token.
func (d *credentialDir) serve(token string) {
	defer close(d.served)
	f, err := os.OpenFile(d.fifo, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	f.WriteString(token)
}

// remove is called when the session has ended or could not be started. A serve
// that still waits finds a reader in it.
func (d *credentialDir) remove() {
	if r, err := os.OpenFile(d.fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
		defer r.Close()
	}
	os.RemoveAll(d.dir)
	<-d.served
}

// maxLine bounds a logged line, as systemd's LineMax= does.
const maxLine = 48 << 10

// lineLog logs what is written to it, one record a line.
type lineLog struct {
	log  *slog.Logger
	rest []byte
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found && len(l.rest) < maxLine {
			return len(p), nil
		}
		l.log.Info("session: " + string(line))
		l.rest = rest
	}
}

// ReadFrom is for io.Copy, which would take a larger buffer for as long as the
// session runs.
func (l *lineLog) ReadFrom(r io.Reader) (total int64, err error) {
	buf := make([]byte, 512)
	for {
		n, err := r.Read(buf)
		total += int64(n)
		_, _ = l.Write(buf[:n]) // fails never
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// flush logs what no newline ended.
func (l *lineLog) flush() {
	if len(l.rest) > 0 {
		l.log.Info("session: " + string(l.rest))
		l.rest = nil
	}
}
