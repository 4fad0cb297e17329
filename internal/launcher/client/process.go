package client

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/launcher/backend"
	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

const (
	sweepEvery  = 250 * time.Millisecond
	stopTimeout = 2 * time.Second // as TimeoutStopSec= of the session's unit
)

// ProcessConfig is what a Process is made of. All fields but CAFile,
// ForgejoSocket, ForgejoMCP and Routes are required.
type ProcessConfig struct {
	SessionBinary string // absolute path of fjmcp-session
	ForgejoURL    string
	ForgejoSocket string // unix socket on which the forge speaks plain HTTP; "" to connect to ForgejoURL
	ForgejoMCP    string // as backend.Find takes it
	CAFile        string
	Routes        string           // as forgeapi.ParsePolicy takes them
	Now           func() time.Time // the clock of idle times and ages
	Log           *slog.Logger     // takes what the sessions write to standard error, too
}

// Process starts sessions as child processes of the broker, where systemd is not
// PID 1. They have the broker's uid and network, and end with it.
type Process struct {
	cfg  ProcessConfig
	stop context.CancelFunc

	mu       sync.Mutex
	closed   bool
	children map[string]*child // nil while a start is under way
	work     sync.WaitGroup    // the sweeper, and each session from its reservation on
}

// NewProcess returns a Process, whose Close must be called.
func NewProcess(cfg ProcessConfig) (*Process, error) {
	if _, err := backend.File(cfg.SessionBinary); err != nil {
		return nil, fmt.Errorf("cannot use fjmcp-session at %q: %w", cfg.SessionBinary, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Process{cfg: cfg, stop: stop, children: make(map[string]*child)}
	p.work.Go(func() { p.sweep(ctx) })
	return p, nil
}

// Start implements Launcher. Errors are of type *Error.
func (p *Process) Start(_ context.Context, spec Spec) error {
	if err := request(spec).Check(); err != nil {
		return &Error{launchproto.CodeBadRequest, err.Error()}
	}
	mcp, err := backend.Find(p.cfg.ForgejoMCP)
	if err != nil {
		return &Error{launchproto.CodeConfig, err.Error()}
	}
	if err := p.reserve(spec.UnitID); err != nil {
		return err
	}
	c, err := startChild(p.cfg, spec, mcp)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		delete(p.children, spec.UnitID)
		p.work.Done()
		return &Error{launchproto.CodeFailed, fmt.Sprintf("cannot start session %s: %v", spec.UnitID, err)}
	}
	p.children[spec.UnitID] = c
	go p.await(spec.UnitID, c)
	if p.closed { // Close could not see this one
		c.terminate()
	}
	return nil
}

// reserve takes the id before the start, which may take its time.
func (p *Process) reserve(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return &Error{launchproto.CodeFailed, "the broker is ending"}
	}
	if _, ok := p.children[id]; ok {
		return &Error{launchproto.CodeExists, "session " + id + " exists already"}
	}
	p.children[id] = nil
	p.work.Add(1)
	return nil
}

// await forgets the child once it has ended.
func (p *Process) await(id string, c *child) {
	defer p.work.Done()
	c.wait()
	p.mu.Lock()
	delete(p.children, id)
	p.mu.Unlock()
	close(c.gone)
}

// sweep stops sessions whose idle time or age is over.
func (p *Process) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := p.cfg.Now()
		for _, c := range p.running() {
			if reason := c.due(now); reason != "" {
				c.log.Info("stopping the session", "reason", reason)
				c.terminate()
			}
		}
	}
}

func (p *Process) running() []*child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Values(p.children)), func(c *child) bool { return c == nil })
}

func (p *Process) child(id string) *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.children[id]
}

// Touch implements Launcher.
func (p *Process) Touch(_ context.Context, unitID string) error {
	c := p.child(unitID)
	if c == nil || !c.touch(p.cfg.Now()) {
		return &Error{launchproto.CodeGone, "session " + unitID + " does not run"}
	}
	return nil
}

// Stop implements Launcher.
func (p *Process) Stop(ctx context.Context, unitID string) error {
	c := p.child(unitID)
	if c == nil {
		return nil
	}
	c.terminate()
	select {
	case <-c.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// List implements Launcher.
func (p *Process) List(context.Context) ([]string, error) {
	var ids []string
	for _, c := range p.running() {
		ids = append(ids, c.id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Check implements Launcher: forgejo-mcp and fjmcp-session exist.
func (p *Process) Check(context.Context) (made string, err error) {
	mcp, err := backend.Find(p.cfg.ForgejoMCP)
	if err != nil {
		return "", &Error{launchproto.CodeConfig, err.Error()}
	}
	if _, err := os.Stat(p.cfg.SessionBinary); err != nil {
		return "", &Error{launchproto.CodeFailed, fmt.Sprintf("cannot find fjmcp-session: %v", err)}
	}
	return backend.Stamp(mcp) + " " + backend.Stamp(p.cfg.SessionBinary), nil
}

// Close ends all sessions and waits for it, and refuses new ones.
func (p *Process) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	for _, c := range p.running() {
		c.terminate()
	}
	p.work.Wait()
	return nil
}
