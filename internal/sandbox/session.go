package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/logging"
	"github.com/fjmcp/fjmcp-broker/internal/proto/control"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/confine"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/forgeproxy"
)

const (
	sendTimeout    = 2 * time.Second
	versionTimeout = 2 * time.Second
	// A backend that is to end has these for the end of its input and then for SIGTERM,
	// before SIGKILL; in all below TimeoutStopSec=.
	inputTimeout  = 500 * time.Millisecond
	stopTimeout   = time.Second
	drainTimeout  = 500 * time.Millisecond // for the end of stderr, which a grandchild may hold open
	goneTimeout   = 300 * time.Millisecond // for a killed broker to be seen gone
	orphanTimeout = 5 * time.Second        // for a backend to see EOF, when no broker can come back
)

// Session runs one backend. Make it with New, then call Run once.
type Session struct {
	config  Config
	mcp     *os.File
	control *control.Conn
	log     *slog.Logger
	output  *Output

	proxy *forgeproxy.Proxy
	lines *lastLines
	acks  acks

	forbidden forbidden
	untold    atomic.Bool // there was a repository of which the broker was not told

	orphaned chan struct{} // closed when nobody holds the control socket's other end
	parent   int           // the process that started this one
}

// New takes what Descriptors returned; the session closes both. The output takes the
// session's own lines, and the backend's stderr once it is bounded.
func New(c Config, mcp *os.File, ctl *control.Conn, output *Output) *Session {
	return &Session{
		config: c, mcp: mcp, control: ctl, log: logging.Untimed(output), output: output,
		orphaned: make(chan struct{}), parent: os.Getppid(),
	}
}

// Run starts the backend and returns the exit status (see the package's doc)
// when it has ended, or when ctx has ended and the backend was stopped. Whatever
// way it ends, it reports so on the control socket.
func (s *Session) Run(ctx context.Context) int {
	defer s.output.Close()
	defer s.control.Close()
	defer s.endGroup(ctx)
	p, err := s.start(ctx)
	s.mcp.Close() // EOF is seen only when the backend holds the sole copy
	if err != nil {
		return s.fail(asFailure(err))
	}
	defer s.proxy.Close()
	s.send(control.Message{Type: control.TypeReady})
	orphaned := s.orphaned
	var late <-chan time.Time
	for {
		select {
		case <-orphaned:
			orphaned, late = nil, time.After(orphanTimeout)
			continue
		case <-late:
			s.log.Warn("the backend continues without a broker; stopping it")
		case <-ctx.Done():
		case <-p.Exited():
			return s.ended(p)
		}
		s.stop(p)
		s.send(control.Message{Type: control.TypeExited})
		return 0
	}
}

// endGroup ends what the backend may have started, and this process, when it was a broker's
// child and the broker is gone: else the broker does, or the service manager. A broker that
// is killed closes its descriptors one by one before it is gone, so that the backend may
// have ended, with its input, before that can be seen.
func (s *Session) endGroup(ctx context.Context) {
	if s.parent == 1 || syscall.Getpgrp() != os.Getpid() {
		return
	}
	wait := goneTimeout
	if ctx.Err() != nil { // told to end
		wait = 0
	}
	select {
	case <-s.orphaned:
	case <-time.After(wait):
		if os.Getppid() == s.parent {
			return
		}
	}
	syscall.Kill(0, syscall.SIGKILL)
}

// start reads the token, starts the proxy and then the backend.
func (s *Session) start(ctx context.Context) (*confine.Process, error) {
	token, err := readToken(ctx, s.config.Credentials)
	if err != nil {
		return nil, err
	}
	if err := checkBackend(s.config.Backend); err != nil {
		return nil, err
	}
	s.proxy, err = forgeproxy.New(forgeproxy.Config{
		Forge:        s.config.Forge,
		CAFile:       s.config.CAFile,
		Egress:       s.config.Egress,
		Plaintext:    s.config.Plaintext,
		Token:        token,
		Policy:       s.config.Policy,
		Unauthorized: s.reportUnauthorized,
		Forbidden:    s.reportForbidden,
		Refused:      s.reportRefused,
		Touched:      s.reportTouched,
		Log:          s.log,
	})
	if err != nil {
		return nil, err
	}
	stdin, err := s.stdin()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	go s.receive() // the broker waits until its first message, the mode, is in force
	ca, err := s.proxy.CertificateFile()
	if err != nil {
		return nil, err
	}
	defer ca.Close()
	return s.startBackend(stdin, ca)
}

// stdin is the pipe that came with the broker's first message, which is obeyed and
// bounds what is written.
func (s *Session) stdin() (*os.File, error) {
	m, pipe, _, err := s.control.Waiting()
	switch {
	case err != nil:
		return nil, err
	case pipe == nil:
		return nil, failed(control.ReasonInternal, "no pipe came with a first message: fjmcp-session is started by fjmcp-broker, not by hand")
	}
	s.output.Bound(m.Output)
	s.obey(m)
	return pipe, nil
}

func (s *Session) startBackend(stdin, ca *os.File) (*confine.Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer w.Close()
	argv := []string{s.config.Backend, "--transport", "stdio", "--url", s.config.Forge.String(), "--user-agent", "fjmcp"}
	p, err := confine.Start(argv, s.environment(), []*os.File{stdin, s.mcp, w, ca}, s.proxy.Ports())
	if err != nil {
		r.Close()
		return nil, startFailure(s.config.Backend, err)
	}
	if p.Warning != "" {
		s.log.Warn(p.Warning)
	}
	if p.AnyPort && !s.config.PrivateNetwork {
		s.log.Warn("this kernel's Landlock is older than ABI 4 (Linux 6.7): the backend reaches any address of the network by TCP")
	}
	s.lines = copyLines(r, s.output)
	return p, nil
}

// environment is all the backend gets. Its descriptor 3 is the certificate; the
// system's other CAs would only cost it time.
func (s *Session) environment() []string {
	return []string{
		"PATH=/usr/bin:/bin",
		"HTTP_PROXY=" + s.proxy.URL(),
		"HTTPS_PROXY=" + s.proxy.URL(),
		"NO_PROXY=",
		"SSL_CERT_FILE=/proc/self/fd/3",
		"SSL_CERT_DIR=/nonexistent",
		"GOMAXPROCS=1", // with its input not blocking, a call is carried out in one thread
		"GOGC=200",     // a collection cannot run beside a call then, so there are fewer
	}
}

// receive takes what brokers say: while one restarts, its descriptor store holds
// the other end, and what is said to it waits there. Without that no broker comes
// back.
func (s *Session) receive() {
	defer close(s.orphaned)
	for {
		m, err := s.control.Receive(context.Background())
		var broken *net.OpError
		switch {
		case err == io.EOF, errors.Is(err, net.ErrClosed):
			return
		case errors.As(err, &broken):
			s.log.Warn("lost the control socket", "error", err)
			return
		case err != nil:
			s.log.Warn("ignored a control packet", "error", err)
		default:
			s.obey(m)
		}
	}
}

func (s *Session) obey(m control.Message) {
	switch m.Type {
	case control.TypeToken:
		if err := s.proxy.SetToken(m.Token); err != nil {
			s.log.Warn("ignored a new token", "error", err)
		}
	case control.TypeNoToken:
		s.proxy.NoToken(m.Reason)
	case control.TypeMode:
		key := s.proxy.SetMode(m.Mode, m.Limits)
		s.send(control.Message{Type: control.TypeAck, ID: m.ID, Key: key})
	case control.TypeAck:
		s.acks.take(m.ID)
	default:
		s.log.Warn("ignored a control message of an unknown type", "type", m.Type)
	}
}

func (s *Session) send(m control.Message) error { return s.sendWithin(sendTimeout, m) }

func (s *Session) sendWithin(limit time.Duration, m control.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return s.control.Send(ctx, m)
}

func (s *Session) reportUnauthorized() error {
	return s.send(control.Message{Type: control.TypeUnauthorized})
}

// reportTouched tells the broker of a repository, or later that there was one.
func (s *Session) reportTouched(repo string) {
	if s.untold.Load() && s.control.Offer(control.Message{Type: control.TypeTouched}) {
		s.untold.Store(false)
	}
	if !s.control.Offer(control.Message{Type: control.TypeTouched, Repo: repo}) {
		s.untold.Store(true)
	}
}

// reportRefused tells the broker and waits a moment until it knows.
func (s *Session) reportRefused(r forgeproxy.Refusal) {
	known, forget := s.acks.await(r.ID)
	defer forget()
	m := control.Message{Type: control.TypeRefused, Reason: r.Reason, ID: r.ID}
	if r.Reason == control.ReasonPolicy {
		m.Rule, m.Detail = r.Rule, r.Text
	}
	if s.send(m) != nil {
		return // nobody is there to know
	}
	select {
	case <-known:
	case <-time.After(sendTimeout):
		s.log.Warn("the broker did not confirm that it knows of a refused request")
	}
}

// stop ends the backend, which may still finish calls in flight: by the end of its input,
// whose other end is the broker's, and where that does not do, by a signal. forgejo-mcp
// takes SIGTERM for a failure.
func (s *Session) stop(p *confine.Process) {
	if s.sendWithin(inputTimeout, control.Message{Type: control.TypeEnding}) == nil && exits(p, inputTimeout) {
		return
	}
	p.Signal(syscall.SIGTERM)
	if !exits(p, stopTimeout) {
		p.Kill()
		<-p.Exited()
	}
}

// exits reports whether p ends in time.
func exits(p *confine.Process, limit time.Duration) bool {
	select {
	case <-p.Exited():
		return true
	case <-time.After(limit):
		return false
	}
}

// ended reports why the backend ended.
func (s *Session) ended(p *confine.Process) int {
	select {
	case <-s.lines.done:
	case <-time.After(drainTimeout):
	}
	if p.State() != nil && p.State().Success() {
		s.send(control.Message{Type: control.TypeExited})
		return 0
	}
	return s.fail(s.diagnose(p))
}

func (s *Session) diagnose(p *confine.Process) *failure {
	contact := s.proxy.Contact()
	if f := forgeFailure(contact); f != nil {
		return f
	}
	if !contact.Served {
		if v, old := control.BackendVersion(backendOutput(s.config.Backend, versionTimeout)); old {
			return failed(control.ReasonBackendTooOld, "%s is version %s: install %s or later", s.config.Backend, v, control.OldestBackend)
		}
	}
	return failed(control.ReasonCrashed, "%s ended by itself: %v", s.config.Backend, p.State())
}

func (s *Session) fail(f *failure) int {
	logging.Untimed(always{s.output}).Error("session failed", "reason", f.reason, "detail", f.detail)
	m := control.Message{Type: control.TypeFailed, Reason: f.reason, Detail: clean(f.detail)}
	if s.lines != nil {
		m.LastLines = s.lines.all()
	}
	s.send(m)
	return exitStatus[f.reason]
}
