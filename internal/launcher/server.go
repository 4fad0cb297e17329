package launcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/peercred"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

const (
	// DefaultIdleExit is how long the launcher stays after the last connection: no
	// broker runs then, for it looks for orphaned units every five minutes.
	DefaultIdleExit = 10 * time.Minute

	maxConnections = 256 // more wait in the socket's queue
	packetTimeout  = time.Minute
	endingTimeout  = time.Second // for a request that is on its way when ctx ends
)

// Config is what a Server is made of. Zero values of IdleExit, After and Bus
// mean the real thing.
type Config struct {
	Getenv   func(string) string // the broker's configuration, os.Getenv
	PeerUIDs []uint32            // who may ask
	Log      *slog.Logger
	IdleExit time.Duration
	After    func(time.Duration) <-chan time.Time // the clock, time.After
	Bus      string                               // D-Bus address of the service manager
}

// Server answers requests on the launcher's socket.
type Server struct {
	cfg     Config
	manager *manager

	mu     sync.Mutex
	open   map[*net.UnixConn]bool
	pinged string // what the last ping found wrong
}

// New returns a Server. It contacts nobody yet.
func New(cfg Config) *Server {
	cfg.IdleExit = cmp.Or(cfg.IdleExit, DefaultIdleExit)
	cfg.Bus = cmp.Or(cfg.Bus, privateSocket)
	if cfg.After == nil {
		cfg.After = time.After
	}
	m := &manager{bus: &bus{address: cfg.Bus}, settings: newSettings(cfg.Getenv), log: cfg.Log, pace: newPace(cfg.Getenv)}
	return &Server{cfg: cfg, manager: m, open: make(map[*net.UnixConn]bool)}
}

// Serve answers on l until ctx ends or no connection has been open for IdleExit;
// both are no error. Requests under way are finished. It closes l, which the
// service manager keeps open: who connects meanwhile is served by the next
// launcher.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	defer s.manager.bus.close()
	conns := make(chan *net.UnixConn)
	accepted := make(chan error, 1)
	go func() {
		defer close(conns)
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				accepted <- err
				return
			}
			conns <- c
		}
	}()
	s.loop(ctx, l, conns)
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// loop returns when conns is closed and every connection has ended.
func (s *Server) loop(ctx context.Context, l *net.UnixListener, conns <-chan *net.UnixConn) {
	defer l.Close()
	ended := make(chan struct{})
	idle := s.cfg.After(s.cfg.IdleExit)
	stop := ctx.Done()
	for active := 0; active > 0 || conns != nil; {
		next := conns
		if active >= maxConnections {
			next = nil
		}
		select {
		case c, ok := <-next:
			if !ok {
				conns = nil
				continue
			}
			active++
			idle = nil
			go func() { s.serve(ctx, c); ended <- struct{}{} }()
		case <-ended:
			active--
			if active == 0 {
				idle = s.cfg.After(s.cfg.IdleExit)
			}
		case <-idle:
			idle = nil
			l.Close()
		case <-stop:
			stop = nil
			l.Close()
			s.hurry()
		}
	}
}

// hurry soon ends connections that wait for a request.
func (s *Server) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.SetReadDeadline(time.Now().Add(endingTimeout))
	}
}

// await opens c for one more packet. Once ctx has ended, only the first is
// still waited for.
func (s *Server) await(ctx context.Context, c *net.UnixConn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.open[c]
	s.open[c] = true
	switch {
	case ctx.Err() == nil:
		return c.SetReadDeadline(time.Now().Add(packetTimeout))
	case first:
		return c.SetReadDeadline(time.Now().Add(endingTimeout))
	}
	return ctx.Err()
}

func (s *Server) serve(ctx context.Context, c *net.UnixConn) {
	defer func() {
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
		c.Close()
	}()
	uid, err := peercred.UID(c)
	if err != nil || !slices.Contains(s.cfg.PeerUIDs, uid) {
		s.cfg.Log.Warn("refused a connection", "uid", uid, "error", err)
		return
	}
	for s.await(ctx, c) == nil {
		p, err := receive(c)
		if err != nil {
			return
		}
		if err := s.answer(context.WithoutCancel(ctx), c, p); err != nil {
			s.cfg.Log.Warn("cannot answer", "error", err)
			return
		}
	}
}

func (s *Server) answer(ctx context.Context, c *net.UnixConn, p *packet) error {
	reply := s.handle(ctx, p)
	data, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	c.SetWriteDeadline(time.Now().Add(packetTimeout))
	_, err = c.Write(data)
	return err
}

func (s *Server) handle(ctx context.Context, p *packet) launchproto.Reply {
	defer p.close()
	r, err := p.request()
	if err != nil {
		s.cfg.Log.Warn("refused a request", "error", err)
		return fail(launchproto.CodeBadRequest, "%v", err)
	}
	reply := s.manager.do(ctx, r, p.fds)
	if s.isNews(r.Op, reply) {
		s.cfg.Log.Error("cannot serve a request", "op", string(r.Op), "id", r.ID,
			"code", string(reply.Code), "error", reply.Message)
	}
	return reply
}

// isNews reports whether the log is to tell of a reply. Whoever watches pings once a
// second, so what is wrong then is told once.
func (s *Server) isNews(op launchproto.Op, reply launchproto.Reply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op == launchproto.OpPing {
		was := s.pinged
		if s.pinged = reply.Message; s.pinged == was {
			return false
		}
	}
	return !reply.OK && reply.Code != launchproto.CodeGone
}
